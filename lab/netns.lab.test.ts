// A namespace's name: what stands there before the namespace does is no namespace.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { unlinkSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { isNetns, netnsPath } from "./netns.ts";

void test("a name can be entered once a namespace is mounted there, not while it is a file", (t) => {
  const name = `fltest-nm${process.pid}`;
  assert.equal(isNetns(name), false, "nothing is there");
  execFileSync("ip", ["netns", "add", name]);
  t.after(() => execFileSync("ip", ["netns", "delete", name]));
  assert.equal(isNetns(name), true);
  const file = `${name}f`;
  writeFileSync(netnsPath(file), ""); // as `ip netns add` begins
  t.after(() => unlinkSync(netnsPath(file)));
  assert.equal(isNetns(file), false);
});
