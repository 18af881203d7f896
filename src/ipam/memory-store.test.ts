// The memory store under the contract suite.

import { testStore } from "../../test/store.contract.ts";
import { createMemoryStore } from "./memory-store.ts";

testStore("memory store", () => createMemoryStore());
