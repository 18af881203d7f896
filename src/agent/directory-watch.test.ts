// A directory that is watched, and one that no watch can be had for.

import { mkdirSync, mkdtempSync, rmSync, watch, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { until } from "../../test/until.ts";
import { silentLog } from "../base/log.ts";
import { createDirectoryWatch } from "./directory-watch.ts";

test("where the kernel has no watch to give nothing is thrown, and it is asked again", async (t) => {
  const top = mkdtempSync(join(tmpdir(), "fairlead-watch-"));
  const stop = new AbortController();
  t.after(() => {
    stop.abort();
    rmSync(top, { recursive: true });
  });
  const directory = join(top, "policy");
  let [isShort, changes] = [true, 0];
  const start = ((...given: Parameters<typeof watch>) => {
    if (isShort) throw Object.assign(new Error("too many open files, watch"), { code: "EMFILE" });
    return watch(...given);
  }) as typeof watch;
  const onChange = (): void => void (changes += 1);
  const { renew } = createDirectoryWatch({ directory, log: silentLog(), signal: stop.signal, onChange, start });
  renew(); // it is not there yet
  mkdirSync(directory);
  renew();
  isShort = false;
  renew();
  writeFileSync(join(directory, "a.yaml"), "");
  await until("the change is told", () => changes > 0);
  rmSync(directory, { recursive: true });
  mkdirSync(directory);
  renew();
  changes = 0;
  writeFileSync(join(directory, "b.yaml"), "");
  await until("one of another directory of that name is told, too", () => changes > 0);
});
