// Release files: DELs that the shim wrote down while no agent answered, applied as if they came by the socket.

import { watch } from "node:fs";
import { mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, Fault, isFault } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { startLoop, type Loop, type LoopPass } from "../base/loop.ts";
import { parseRequest } from "../cni/request.ts";
import { decodeRequest } from "../cni/wire.ts";
import type { CniRequest } from "../cni/types.ts";

const suffix = ".release";
/** Files taken in one pass; the rest waits for the next. */
const filesPerPassMax = 1024;

export interface ReleasesDeps {
  /** The agent's CNI socket; the files lie in `releases` beside it. */
  socket: string;
  /** Carries out the DEL that a file holds. */
  release: (request: CniRequest) => Promise<void>;
  log: Log;
}

/** Where the shim writes: native/shim_release.c knows the same name. */
export function releasesDirectory(socket: string): string {
  return join(dirname(socket), "releases");
}

/** Starts the loop: a pass at start, when the directory changes, and now and then. */
export async function startReleases(
  deps: ReleasesDeps,
  signal: AbortSignal,
  onPass: (pass: LoopPass) => void,
): Promise<Loop> {
  const directory = releasesDirectory(deps.socket);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const loop = startLoop({
    name: "releases",
    sync: () => applyReleases(directory, deps),
    minMs: 100,
    retryMs: 500,
    retryMaxMs: 30_000,
    maxMs: 30_000,
    signal,
    onPass,
  });
  const watcher = watch(directory, { signal }, () => loop.trigger());
  watcher.on("error", (error) =>
    deps.log.warn({ error: describe(error) }, "release files are no longer watched, only polled"),
  );
  return loop;
}

/** One pass over the files, oldest first (their names begin with the time). A file goes only when its release is done. */
export async function applyReleases(directory: string, { release, log }: ReleasesDeps): Promise<void> {
  const names = (await readdir(directory)).filter((name) => name.endsWith(suffix) && !name.startsWith("."));
  const failures: unknown[] = [];
  for (const name of names.sort().slice(0, filesPerPassMax)) {
    const file = join(directory, name);
    try {
      const request = parseRequest(decodeRequest(await readFile(file)));
      if (request.verb !== "DEL")
        throw new Fault("bad-frame", `a release file holds ${request.verb}; only DEL is released`);
      await release(request);
      await rm(file, { force: true });
      log.info({ file, containerId: request.containerId }, "release file applied");
    } catch (error) {
      if (isUnreadable(error)) {
        log.error({ file, error: describe(error) }, "release file cannot be read; kept aside with the ending .bad");
        await rename(file, `${file}.bad`);
      } else failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
}

/** A file that no later pass could read either. */
function isUnreadable(error: unknown): boolean {
  return isFault(error, "bad-frame", "bad-json", "bad-environment", "bad-network-config", "cni-version");
}
