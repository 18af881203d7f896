// What a part of a bench is told, and what it gives.

import type { Row, Value } from "./report.ts";

export interface Figures {
  rows: Row[];
  values: Value[];
}

export interface PartOptions {
  /** A fraction of the work. */
  quick: boolean;
  signal: AbortSignal;
  /** Told how far it is. */
  onStep: (words: string) => void;
}
