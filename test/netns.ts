// The one network-namespace helper for tests: makes named namespaces with our prefix and removes them after the test, whatever happened.

import { execFileSync } from "node:child_process";
import type { TestContext } from "node:test";

/** Every namespace that a test makes begins so; `ip netns list` shows at once what a test left behind. */
export const testNetnsPrefix = "fltest-";

let made = 0;

export interface TestNetns {
  name: string;
  path: string;
  /** Runs a program inside and gives its stdout; throws with its stderr where it fails. At most 20 s. */
  run(program: string, ...args: string[]): string;
  /** Removes the namespace now; doing so twice is no error. */
  remove(): void;
}

/** Makes an empty namespace (loopback down) that is removed when `t` ends. */
export function makeNetns(t: Pick<TestContext, "after">): TestNetns {
  made += 1;
  const name = `${testNetnsPrefix}${process.pid}-${made}`;
  execFileSync("ip", ["netns", "add", name]);
  let removed = false;
  const remove = (): void => {
    if (removed) return;
    removed = true;
    execFileSync("ip", ["netns", "delete", name]);
  };
  t.after(remove);
  return {
    name,
    path: `/run/netns/${name}`,
    run: (program, ...args) =>
      execFileSync("ip", ["netns", "exec", name, program, ...args], {
        encoding: "utf8",
        timeout: 20_000,
        stdio: ["ignore", "pipe", "pipe"],
      }),
    remove,
  };
}
