// Placing the plugin and its conflist: whole or not at all, in the order in which the runtime may find them.

import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, openSync, closeSync, readFileSync, readdirSync, rmSync } from "node:fs";
import { statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { isFault } from "../base/fault.ts";
import { conflistText } from "../cni/conflist.ts";
import { install, type InstallPaths } from "./install.ts";

interface Stand extends InstallPaths {
  plugin: string;
  conflist: string;
}

function stand(t: TestContext): Stand {
  const top = mkdtempSync(join(tmpdir(), "fairlead-install-"));
  t.after(() => rmSync(top, { recursive: true }));
  const shim = join(top, "shim");
  writeFileSync(shim, "first", { mode: 0o600 });
  const [cniBin, cniConf] = [join(top, "opt", "bin"), join(top, "etc", "net.d")];
  return {
    shim,
    cniBin,
    cniConf,
    plugin: join(cniBin, "fairlead-cni"),
    conflist: join(cniConf, "10-fairlead.conflist"),
  };
}

const modeOf = (file: string): number => statSync(file).mode & 0o777;

test("plugin and conflist are there, the plugin to be run, both readable by all", async (t) => {
  const { plugin, conflist, ...paths } = stand(t);
  await install(paths);
  assert.deepEqual([readFileSync(plugin, "utf8"), readFileSync(conflist, "utf8")], ["first", conflistText()]);
  assert.deepEqual([modeOf(plugin), modeOf(conflist)], [0o755, 0o644]);
  const before = [statSync(plugin).ino, statSync(conflist).ino];
  await install(paths);
  assert.deepEqual([statSync(plugin).ino, statSync(conflist).ino], before, "what is right is not written again");
  rmSync(conflist);
  writeFileSync(plugin, "damaged");
  await install(paths);
  assert.deepEqual([readFileSync(plugin, "utf8"), existsSync(conflist)], ["first", true]);
});

test("whoever reads meanwhile sees the old one or the new one, never half of one", async (t) => {
  const { plugin, conflist, ...paths } = stand(t);
  await install(paths);
  writeFileSync(conflist, "{}");
  const held = [plugin, conflist].map((file) => openSync(file, "r"));
  writeFileSync(paths.shim, "second, and longer");
  await install(paths);
  assert.deepEqual(
    held.map((file) => readFileSync(file, "utf8")),
    ["first", "{}"],
    "who had them open has them whole",
  );
  for (const file of held) closeSync(file);
  assert.deepEqual(
    [readFileSync(plugin, "utf8"), readFileSync(conflist, "utf8")],
    ["second, and longer", conflistText()],
  );
});

test("what somebody left half made, being killed, goes with the next start; what is others' stays", async (t) => {
  const { plugin, conflist, ...paths } = stand(t);
  await install(paths);
  const others = [join(paths.cniBin, ".bridge.0123456789ab"), join(paths.cniBin, ".fairlead-cni.old")];
  const left = [
    join(paths.cniBin, ".fairlead-cni.0123456789ab"),
    join(paths.cniConf, ".10-fairlead.conflist.ffffffffffff"),
  ];
  for (const file of [...others, ...left]) writeFileSync(file, "half");
  await install(paths);
  assert.deepEqual(left.filter(existsSync), []);
  assert.deepEqual(others.filter(existsSync), others);
  assert.ok(existsSync(plugin) && existsSync(conflist));
});

test("without the plugin there is no conflist either", async (t) => {
  const { conflist, ...paths } = stand(t);
  rmSync(paths.shim);
  await assert.rejects(install(paths), (error) => isFault(error, "machine-unfit") && /make setup/.test(error.message));
  assert.ok(!existsSync(conflist));
});

test("what cannot be placed leaves nothing beside it, and names the path", async (t) => {
  const { plugin, conflist, ...paths } = stand(t);
  mkdirSync(join(conflist, "something"), { recursive: true });
  await assert.rejects(install(paths), (error) => isFault(error, "io-failure") && error.message.includes(conflist));
  assert.ok(existsSync(plugin));
  assert.deepEqual(readdirSync(paths.cniConf), ["10-fairlead.conflist"]);
});
