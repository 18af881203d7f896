// Drop-ins: written only for daemons that are installed, made again where they were changed, removed where they are not wanted.

import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { missingDropIns, syncDropIns } from "./drop-ins.ts";

const networkd = [
  "systemd/network/10-fairlead.network",
  "systemd/network/10-fairlead.link",
  "systemd/networkd.conf.d/10-fairlead.conf",
];
const networkManager = "NetworkManager/conf.d/10-fairlead.conf";

function makeEtc(t: TestContext, ...directories: string[]): string {
  const etc = mkdtempSync(join(tmpdir(), "fairlead-etc-"));
  t.after(() => rmSync(etc, { recursive: true }));
  for (const directory of directories) mkdirSync(join(etc, directory), { recursive: true });
  return etc;
}

test("a host without such daemons gets no file", async (t) => {
  const etc = makeEtc(t);
  await syncDropIns(etc, true);
  assert.deepEqual(missingDropIns(etc), []);
  assert.equal(existsSync(join(etc, "systemd")), false);
});

test("each installed daemon gets its own, once", async (t) => {
  const etc = makeEtc(t, "systemd/network");
  assert.deepEqual(
    missingDropIns(etc).map(({ file }) => file),
    networkd.map((file) => join(etc, file)),
  );
  await syncDropIns(etc, true);
  assert.deepEqual(missingDropIns(etc), []);
  assert.equal(existsSync(join(etc, networkManager)), false);
  const file = join(etc, networkd[0] ?? "");
  assert.match(readFileSync(file, "utf8"), /\[Match\]\nName=fl\*\n\n\[Link\]\nUnmanaged=yes\n/);
  assert.equal(statSync(file).mode & 0o777, 0o644);
  const before = statSync(file).ino;
  await syncDropIns(etc, true);
  assert.equal(statSync(file).ino, before, "what is right is not written again");
});

test("a changed one is made again; unwanted, ours go and another's stays", async (t) => {
  const etc = makeEtc(t, "systemd/network", "NetworkManager/conf.d");
  await syncDropIns(etc, true);
  writeFileSync(join(etc, networkManager), "[keyfile]\n");
  assert.deepEqual(
    missingDropIns(etc).map(({ file }) => file),
    [join(etc, networkManager)],
  );
  await syncDropIns(etc, true);
  assert.deepEqual(missingDropIns(etc), []);
  writeFileSync(join(etc, networkManager), "[keyfile]\n# an operator's own\n");
  await syncDropIns(etc, false);
  assert.equal(existsSync(join(etc, networkManager)), true);
  for (const file of networkd) assert.equal(existsSync(join(etc, file)), false, file);
});
