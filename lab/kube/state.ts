// What the parts of one API server share.

import type { Callers } from "./callers.ts";
import type { Registry } from "./registry.ts";
import type { Store } from "./store.ts";

export interface ApiState {
  store: Store;
  registry: Registry;
  callers: Callers;
}
