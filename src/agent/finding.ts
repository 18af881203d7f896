// One thing that was looked at on a node, and how it was found.

export interface Finding {
  /** What was looked at. */
  name: string;
  /** "warn": pods are well, and something wants attention. "bad": pods are hurt, or will be. */
  state: "ok" | "warn" | "bad";
  says: string;
  cure?: string;
}
