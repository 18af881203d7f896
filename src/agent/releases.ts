// Release files: DELs that the shim wrote down while no agent answered, applied as if they came by the socket.

import { existsSync, readdirSync } from "node:fs";
import { mkdir, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, Fault, isFault } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { startLoop, type Loop, type LoopPass } from "../base/loop.ts";
import { attachmentKey } from "../ipam/store.ts";
import { attachmentIdOf } from "./attach.ts";
import { createDirectoryWatch } from "./directory-watch.ts";
import { createSharedPasses } from "../base/shared-passes.ts";
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

export interface Releases {
  loop: Loop;
  /**
   * Settles when every file about this container that lies there now has been tried, or about any where none is named: who comes now must
   * not be taken for who left. Files about others are not waited for.
   */
  applied(containerId?: string): Promise<void>;
}

/** Starts the loop: a pass at start, when the directory changes, and now and then. */
export function startReleases(deps: ReleasesDeps, signal: AbortSignal, onPass: (pass: LoopPass) => void): Releases {
  const directory = releasesDirectory(deps.socket);
  const watching = createDirectoryWatch({ directory, log: deps.log, signal, onChange: () => loop.trigger() });
  // One pass at a time: a file that one pass has read must not be carried out after another pass has ended.
  const passes = createSharedPasses(() => applyReleases(directory, deps, signal));
  const loop = startLoop({
    name: "releases",
    sync: async () => {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      watching.renew();
      await passes.next();
    },
    minMs: 100,
    retryMs: 500,
    retryMaxMs: 30_000,
    maxMs: 30_000,
    signal,
    onPass,
  });
  return {
    loop,
    applied: async (containerId) => {
      if (!(await isConcerned(directory, containerId))) return;
      await passes
        .next()
        .catch((error: unknown) => deps.log.warn({ error: describe(error) }, "release files are left for later"));
    },
  };
}

/** Whether a file is about the container, or may be; about any where none is named. */
async function isConcerned(directory: string, containerId: string | undefined): Promise<boolean> {
  if (!existsSync(directory)) return false;
  const names = releaseFiles(directory);
  if (containerId === undefined) return names.length > 0;
  for (const name of names) {
    try {
      const { env } = decodeRequest(await readFile(join(directory, name)));
      if (env.get("CNI_CONTAINERID") === containerId) return true;
    } catch {
      // It has gone meanwhile, or a pass puts it aside.
    }
  }
  return false;
}

/** Names of the files, oldest first: they begin with the time. */
function releaseFiles(directory: string): string[] {
  return readdirSync(directory)
    .filter((name) => name.endsWith(suffix) && !name.startsWith("."))
    .sort()
    .slice(0, filesPerPassMax);
}

/** One pass over the files, oldest first, as long as `signal` lets it. A file goes only when its release is done. */
export async function applyReleases(
  directory: string,
  { release, log }: ReleasesDeps,
  signal?: AbortSignal,
): Promise<void> {
  const failures: unknown[] = [];
  for (const name of releaseFiles(directory)) {
    if (signal?.aborted) break;
    const file = join(directory, name);
    try {
      const request = parseRequest(decodeRequest(await readFile(file)));
      if (request.verb !== "DEL")
        throw new Fault("bad-frame", `a release file holds ${request.verb}; only DEL is released`);
      await release(request);
      await rm(file, { force: true });
      log.info({ file, attachment: attachmentKey(attachmentIdOf(request)) }, "release file applied");
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
