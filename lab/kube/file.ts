// The store in a file, so that a restarted server has the objects of the one before it: read at the start, written whole, by rename.

import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { type Loop, startLoop } from "../../src/base/loop.ts";
import { readJson } from "../json.ts";
import type { Store } from "./store.ts";
import type { JsonObject } from "./value.ts";

const isJsonObject = (value: unknown): value is JsonObject => typeof value === "object" && value !== null;

const form = z.object({
  version: z.int(),
  objects: z.array(z.object({ resource: z.string(), key: z.string(), object: z.custom<JsonObject>(isJsonObject) })),
});

/** Fills an empty store from the file, if it is there. True where it was. @throws Fault "lab-failed" where it is no such file */
export function loadStore(store: Store, file: string): boolean {
  if (!existsSync(file)) return false;
  store.load(readJson(form, readFileSync(file, "utf8"), file));
  return true;
}

export function saveStore(store: Store, file: string): void {
  writeFileSync(`${file}.new`, JSON.stringify(store.dump()), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** Writes the file after changes, at most once a second: what changed last may be lost where the program is killed. */
export function keepFile(store: Store, file: string, signal: AbortSignal): Loop {
  let written = -1;
  const loop = startLoop({
    name: "file",
    sync: async () => {
      if (store.version() === written) return;
      written = store.version();
      saveStore(store, file);
    },
    minMs: 1_000,
    retryMs: 1_000,
    retryMaxMs: 10_000,
    maxMs: 60_000,
    signal,
  });
  store.onChange(() => loop.trigger());
  return loop;
}
