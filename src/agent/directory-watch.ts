// A directory that is watched where the kernel has a watch to give, and else only looked at now and then by whoever asks.

import { type FSWatcher, watch } from "node:fs";
import { describe } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { fileAt } from "./connection.ts";

export interface DirectoryWatchOptions {
  directory: string;
  /** With all below it. */
  recursive?: boolean;
  log: Log;
  signal: AbortSignal;
  onChange: () => void;
  /** Tests pass their own. */
  start?: typeof watch;
}

export interface DirectoryWatch {
  /** Watches the directory that is there now: one that was removed and made again is another. Never throws: inotify has a limit that others can use up. */
  renew: () => void;
}

export function createDirectoryWatch({
  directory,
  recursive = false,
  log,
  signal,
  onChange,
  start = watch,
}: DirectoryWatchOptions): DirectoryWatch {
  let watched: { file: string | undefined; watcher: FSWatcher } | undefined;
  let isPolled = false;
  const poll = (error: unknown): void => {
    if (!isPolled) log.warn({ directory, error: describe(error) }, "cannot be watched: looked at now and then");
    isPolled = true;
  };
  return {
    renew: () => {
      const file = fileAt(directory);
      if (file === undefined || watched?.file === file) return;
      watched?.watcher.close();
      watched = undefined;
      try {
        const watcher = start(directory, { recursive, signal }, onChange);
        watcher.on("error", poll);
        watched = { file, watcher };
        isPolled = false;
      } catch (error) {
        poll(error);
      }
    },
  };
}
