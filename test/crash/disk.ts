// File systems of their own for an agent's files: they fill up, and turn read-only.

import { execFileSync } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync, rmSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { basename, join } from "node:path";
import type { TestContext } from "node:test";
import { present } from "../../src/base/assert.ts";

/** Larger than the plugin and the state of a few pods. */
const diskKib = 4096;
/** A page, which is a block too. */
const blockLen = 4096;

const run = (program: string, ...args: string[]): void => void execFileSync(program, args, { stdio: "pipe" });

export interface MemoryDisk {
  /** For `makeStage`. */
  mount(directory: string): void;
  /** Leaves not one block free. */
  fill(): void;
  /** Gives back what `fill` took. */
  drain(): void;
  remount(how: "ro" | "rw"): void;
}

/** A tmpfs; it goes when `t` ends, once the agents have. */
export function memoryDisk(t: TestContext): MemoryDisk {
  let at = "";
  const filler = (): string => join(at, "filler");
  return {
    mount: (directory) => {
      at = directory;
      run("mount", "-t", "tmpfs", "-o", `size=${diskKib}k,mode=700`, "fairlead-test", at);
      t.after(() => run("umount", at));
    },
    fill: () => {
      const file = openSync(filler(), "w");
      try {
        for (let block = 0; block <= diskKib; block += 1) writeSync(file, Buffer.alloc(blockLen));
      } catch (error) {
        if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
        return;
      } finally {
        closeSync(file);
      }
      throw new Error(`${at} takes more than ${diskKib} KiB`);
    },
    drain: () => rmSync(filler()),
    remount: (how) => run("mount", "-o", `remount,${how}`, at),
  };
}

export interface ErrorDisk {
  /** For `makeStage`. */
  mount(directory: string): void;
  /** The kernel finds an error on it and lets nobody write any more, files that are open included. */
  fail(): void;
  /** Mounts it anew, when nobody uses it. */
  renew(): void;
}

/** An ext4 in a file, on which an error can be had for the asking: nothing else turns read-only under a program that writes. */
export function errorDisk(t: TestContext): ErrorDisk {
  let at = "";
  const image = (): string => `${at}.img`;
  const mount = (): void => run("mount", "-o", "loop,errors=remount-ro", image(), at);
  return {
    mount: (directory) => {
      at = directory;
      writeFileSync(image(), "");
      t.after(() => rmSync(image()));
      truncateSync(image(), diskKib * 1024);
      run("mkfs.ext4", "-q", image());
      mount();
      t.after(() => run("umount", at));
    },
    fail: () => {
      run("sync", "-f", at); // what was written stays: this is no loss of power
      const line = readFileSync("/proc/mounts", "utf8")
        .split("\n")
        .find((one) => one.split(" ")[1] === at);
      writeFileSync(`/sys/fs/ext4/${basename(present(line?.split(" ")[0], at))}/trigger_fs_error`, "planned");
    },
    renew: () => {
      run("umount", at);
      // In a file of its own: somebody with another view of all mounts may keep the old one, as it is, in use.
      const held = readFileSync(image());
      rmSync(image());
      writeFileSync(image(), held);
      mount();
    },
  };
}

/** For a test that uses `errorDisk`: skipped, with the reason, where this machine cannot have one. */
export const needsErrorDisk: { skip: string | false } = { skip: reasonToSkip() };

function reasonToSkip(): string | false {
  if (!existsSync("/dev/loop-control")) return "there are no loop devices";
  return /\text4$/m.test(readFileSync("/proc/filesystems", "utf8")) ? false : "there is no ext4";
}
