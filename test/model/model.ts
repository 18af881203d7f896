// The small model: what a runtime may believe of a node after each answer, and what an answer may be. It knows no kernel and no code of ours.

/** One sandbox of a pod, by its container id. */
export interface Sandbox {
  /** "unsure": the agent died before it answered; only its successor can tell. */
  state: "absent" | "attached" | "unsure";
  addresses: string[];
  /** Its namespace is gone. */
  vanished: boolean;
  /** When the agent first missed it. */
  missedSinceMs?: number;
  /** A DEL of it has failed half-way: an ADD that comes before the next DEL may find its interface gone. */
  halfDeleted?: boolean;
}

export interface ModelOptions {
  /** Addresses of a family that the node can give at all. */
  capacity: number;
  coolMs: number;
  vanishedMs: number;
}

/** A run in which this is thrown has shown a defect. */
export class Broken extends Error {}

const must = (condition: boolean, what: string): void => {
  if (!condition) throw new Broken(what);
};

/** Makes the model of a node that has never had a pod. */
export function createModel({ capacity, coolMs, vanishedMs }: ModelOptions) {
  const sandboxes = new Map<string, Sandbox>();
  /** Address to the time until which nobody may get it. */
  const resting = new Map<string, number>();
  /** Addresses of sandboxes that an agent died over: whether they rest is not known. */
  const loose = new Set<string>();

  const sandbox = (id: string): Sandbox => {
    const known = sandboxes.get(id) ?? { state: "absent", addresses: [], vanished: false };
    sandboxes.set(id, known);
    return known;
  };
  const attached = (): [string, Sandbox][] => [...sandboxes].filter(([, { state }]) => state === "attached");

  const release = (id: string, nowMs: number): void => {
    const gone = sandbox(id);
    if (gone.state === "unsure") for (const address of gone.addresses) loose.add(address);
    else for (const address of gone.addresses) resting.set(address, nowMs + coolMs);
    sandboxes.set(id, { state: "absent", addresses: [], vanished: gone.vanished });
  };

  return {
    sandbox,
    attached,
    /** What ADD answered; `alive`: the sandbox's namespace is there. */
    added: (id: string, answer: { code: number; addresses: string[] }, nowMs: number, alive: boolean): void => {
      const before = sandbox(id);
      if (answer.code !== 0) {
        if (before.state === "attached" && alive)
          return must(answer.code === 100, `${id}: a second ADD says ${answer.code}`);
        if (!alive) return must(answer.code === 101, `${id}: ADD without a namespace says ${answer.code}`);
        const busy = attached().length + [...resting.values()].filter((untilMs) => untilMs > nowMs).length + loose.size;
        return must(
          answer.code === 11 && busy >= capacity,
          `${id}: ADD fails with ${answer.code} at ${busy} of ${capacity}`,
        );
      }
      if (before.halfDeleted === true) release(id, nowMs);
      else must(before.state === "absent", `${id}: ADD succeeds though it was ${before.state}`);
      must(alive, `${id}: ADD succeeds without a namespace`);
      must(answer.addresses.length === 2, `${id}: ${answer.addresses.length} addresses`);
      for (const address of answer.addresses) {
        const owner = attached().find(([, { addresses }]) => addresses.includes(address));
        must(owner === undefined, `${id} gets ${address}, which ${owner?.[0]} has`);
        must(
          (resting.get(address) ?? 0) <= nowMs,
          `${id} gets ${address}, which rests until ${resting.get(address)}, at ${nowMs}`,
        );
        resting.delete(address);
        loose.delete(address);
      }
      sandboxes.set(id, { state: "attached", addresses: answer.addresses, vanished: false });
    },
    /** ADD failed for a reason of the machine's: nothing of it may be left, and what it had before stays. */
    failed: (id: string): void => {
      must(sandbox(id).state !== "unsure", `${id} is unsure`);
    },
    /** DEL failed for a reason of the machine's; it is made again. */
    halfDeleted: (id: string): void => {
      sandbox(id).halfDeleted = true;
    },
    deleted: (id: string, code: number, nowMs: number): void => {
      must(code === 0, `${id}: DEL says ${code}`);
      release(id, nowMs);
    },
    checked: (id: string, code: number): void => {
      const { state, vanished } = sandbox(id);
      const well = state === "attached" && !vanished;
      must((code === 0) === well, `${id}: CHECK says ${code} where it is ${state}${vanished ? ", vanished" : ""}`);
    },
    collected: (kept: ReadonlySet<string>, code: number, nowMs: number): void => {
      must(code === 0, `GC says ${code}`);
      for (const [id] of attached()) if (!kept.has(id)) release(id, nowMs);
    },
    /** The agent died before it answered a call about the sandbox. */
    lost: (id: string): void => {
      sandbox(id).state = "unsure";
    },
    vanish: (id: string): void => {
      sandbox(id).vanished = true;
    },
    /** What the agent gives up by itself, at `nowMs`. */
    settled: (nowMs: number): void => {
      for (const [id, held] of attached()) {
        if (!held.vanished) continue;
        held.missedSinceMs ??= nowMs;
        if (nowMs - held.missedSinceMs >= vanishedMs) release(id, nowMs);
      }
    },
    /** A new agent has begun: it knows what has vanished, and its word on what was unsure is final. */
    restarted: (heldNow: ReadonlyMap<string, string[]>, nowMs: number): void => {
      for (const [id, held] of sandboxes) {
        delete held.missedSinceMs;
        if (held.state === "attached" && held.vanished) release(id, nowMs);
        if (held.state !== "unsure") continue;
        const addresses = heldNow.get(id);
        if (addresses === undefined) release(id, nowMs);
        else sandboxes.set(id, { ...held, state: "attached", addresses });
      }
    },
    rebooted: (nowMs: number): void => {
      for (const [id, { state }] of sandboxes) if (state !== "absent") release(id, nowMs);
    },
  };
}

export type Model = ReturnType<typeof createModel>;
