// The common library's own features with ours in the list: its cache, versions, switches, files, fifty pods at once, GC and STATUS.

import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { atLeast, supportedVersions } from "../../src/cni/types.ts";
import { makeNetns } from "../netns.ts";
import { needsReference } from "./programs.ts";
import type { Attachment, CallOutcome, PluginConfig } from "./runtime.ts";
import { outsideAddresses, type Stage, startStage } from "./stage.ts";

const ours: PluginConfig = { type: "fairlead-cni" };

/** What failed, in the words of plugins and library. */
const failures = (outcomes: readonly CallOutcome[]): string[] =>
  outcomes.flatMap(({ error }) => (error === undefined ? [] : [`${error.code} ${error.msg}`]));

const attachmentsFor = (t: TestContext, count: number): Attachment[] =>
  Array.from({ length: count }, (_, index) => ({
    containerId: `pod-${index}`,
    netns: makeNetns(t).path,
    ifname: "eth0",
  }));

/** Pods that the node serves; their links and the addresses given must agree. */
async function podsOf({ agent, snapshot, liveAddresses }: Stage): Promise<number> {
  await snapshot();
  const links = (await agent.kernel().node.links()).filter(({ name }) => name.startsWith("fl")).length;
  assert.deepEqual(await liveAddresses(), [links, links]);
  return links;
}

test(
  "the list that the agent installs, as it is: libcni finds it by name and takes it for valid",
  needsReference,
  async (t) => {
    const stage = await startStage(t);
    const { agent, runtime } = stage;
    const network = { network: "fairlead", confDir: agent.config.paths.cniConf };
    const attachments = attachmentsFor(t, 1);
    const args = [
      ["IgnoreUnknown", "1"],
      ["K8S_POD_NAMESPACE", "default"],
      ["K8S_POD_NAME", "web-0"],
      ["K8S_POD_INFRA_CONTAINER_ID", "pod-0"],
      ["K8S_POD_UID", "5c0a6b3e-0d7f-4f0c-9f43-0f4b5a0f0d11"],
    ] as const;
    assert.deepEqual(failures(await runtime.libcni("VALIDATE", network)), []);
    for (const verb of ["ADD", "CHECK", "DEL"]) {
      assert.deepEqual(failures(await runtime.libcni(verb, { ...network, attachments, args })), [], verb);
    }
    assert.equal(await podsOf(stage), 0);
  },
);

test(
  "each version of the protocol, with the library's conversions on the way there and back",
  needsReference,
  async (t) => {
    const stage = await startStage(t);
    const { runtime } = stage;
    for (const cniVersion of supportedVersions) {
      // tuning takes our result as prevResult, reads it by the library, and hands it on.
      runtime.configure("versioned", [ours, { type: "tuning", dataDir: runtime.dataDir }], { cniVersion });
      const pod = stage.pod();
      const result: object = await runtime.add("versioned", pod);
      const old = !atLeast(cniVersion, "0.3.0");
      const wanted = old ? ["cniVersion", "dns", "ip4", "ip6"] : ["cniVersion", "interfaces", "ips", "routes"];
      assert.deepEqual(
        Object.keys(result)
          .filter((key) => old || key !== "dns")
          .sort(),
        wanted,
        cniVersion,
      );
      assert.equal((result as { cniVersion: string }).cniVersion, cniVersion);
      const text = JSON.stringify(result);
      assert.equal(/"version":"4"/.test(text), !old && !atLeast(cniVersion, "1.0.0"), cniVersion);
      assert.equal(/"mtu"/.test(text), cniVersion === "1.1.0", cniVersion);
      if (atLeast(cniVersion, "0.4.0")) await runtime.ok("check", "versioned", pod);
      else assert.match(await runtime.refused("check", "versioned", pod), /does not support the CHECK command/);
      await runtime.ok("status", "versioned", pod);
      await runtime.ok("del", "versioned", pod);
    }
    assert.equal(await podsOf(stage), 0);
  },
);

test(
  "cniVersions: the highest that the library knows is spoken, and attachments of an older one still go",
  needsReference,
  async (t) => {
    const stage = await startStage(t);
    const { runtime } = stage;
    const speaks = async (keys: Record<string, unknown>): Promise<string> => {
      runtime.configure("many", [ours], keys);
      const pod = stage.pod();
      const { cniVersion } = await runtime.add("many", pod);
      await runtime.ok("check", "many", pod);
      await runtime.ok("del", "many", pod);
      return cniVersion;
    };
    assert.equal(await speaks({ cniVersion: "0.4.0", cniVersions: ["1.0.0", "9.9.9"] }), "1.0.0");
    assert.equal(await speaks({ cniVersion: "0.4.0", cniVersions: ["0.3.1", "1.1.0", "1.0.0"] }), "1.1.0");
    assert.equal(await speaks({ cniVersion: "1.0.0", cniVersions: [] }), "1.0.0");

    // Upgraded while the pod runs: what was added in 0.3.1 is checked and deleted in 1.1.0.
    const pod = stage.pod();
    runtime.configure("many", [ours], { cniVersion: "0.3.1" });
    await runtime.add("many", pod);
    runtime.configure("many", [ours], { cniVersion: "0.3.1", cniVersions: ["1.1.0"] });
    await runtime.ok("check", "many", pod);
    await runtime.ok("del", "many", pod);
    assert.equal(await podsOf(stage), 0);
  },
);

test("disableCheck and disableGC, as booleans and as text, keep both verbs from us", needsReference, async (t) => {
  const stage = await startStage(t);
  const { runtime } = stage;
  const pod = stage.pod();
  runtime.configure("quiet", [ours]);
  await runtime.add("quiet", pod);
  pod.run("ip", "link", "set", "eth0", "down");
  assert.match(await runtime.refused("check", "quiet", pod), /eth0 in the pod is down/);
  for (const yes of [true, "true", "True"]) {
    runtime.configure("quiet", [ours], { disableCheck: yes, disableGC: yes });
    await runtime.ok("check", "quiet", pod);
    await runtime.ok("gc", "quiet", pod);
    const none = await runtime.libcni("GC", { network: "quiet", attachments: [] });
    assert.deepEqual(failures(none), []);
    assert.equal(await podsOf(stage), 1);
  }
  runtime.configure("quiet", [ours], { disableCheck: "yes" });
  assert.match(await runtime.refused("check", "quiet", pod), /invalid value "yes" for disableCheck/);
  runtime.configure("quiet", [ours], { disableCheck: false, disableGC: "false" });
  assert.match(await runtime.refused("check", "quiet", pod), /eth0 in the pod is down/);
  await runtime.ok("gc", "quiet", pod);
  assert.equal(await podsOf(stage), 0);
});

test("plugins in files of their own join ours, unless loadOnlyInlinedPlugins", needsReference, async (t) => {
  const stage = await startStage(t);
  const { runtime } = stage;
  const directory = join(runtime.confDir, "parts");
  mkdirSync(directory);
  const write = (file: string, plugin: PluginConfig): void =>
    writeFileSync(join(directory, file), JSON.stringify(plugin));
  write("20-tuning.conf", { type: "tuning", dataDir: runtime.dataDir, sysctl: { "net.core.somaxconn": "501" } });
  const somaxconn = async (keys: Record<string, unknown>): Promise<string> => {
    runtime.configure("parts", [ours], keys);
    const pod = stage.pod();
    await runtime.add("parts", pod);
    await runtime.ok("check", "parts", pod);
    const value = pod.run("cat", "/proc/sys/net/core/somaxconn").trim();
    await runtime.ok("del", "parts", pod);
    return value;
  };
  assert.equal(await somaxconn({}), "501");
  assert.notEqual(await somaxconn({ loadOnlyInlinedPlugins: true }), "501");

  // Ours in a file too: the list itself holds no plugin.
  write("10-fairlead.conf", ours);
  const list = { cniVersion: "1.1.0", name: "parts" };
  writeFileSync(join(runtime.confDir, "parts.conflist"), JSON.stringify(list));
  const pod = stage.pod();
  await runtime.add("parts", pod);
  pod.run("ping", "-c1", "-W2", outsideAddresses[4]);
  await runtime.ok("del", "parts", pod);
  writeFileSync(join(runtime.confDir, "parts.conflist"), JSON.stringify({ ...list, loadOnlyInlinedPlugins: true }));
  assert.match(await runtime.refused("add", "parts", stage.pod()), /loadOnlyInlinedPlugins/);
});

test("the cached result is what ADD gave; without it CHECK fails and DEL does not", needsReference, async (t) => {
  const stage = await startStage(t);
  const { runtime } = stage;
  runtime.configure("kept", [ours]);
  const pod = stage.pod();
  const printed = await runtime.add("kept", pod);
  const [cached, ...more] = runtime.cached("kept");
  assert.deepEqual([cached?.["result"], cached?.["netns"], more], [printed, pod.path, []]);
  runtime.forget();
  assert.match(await runtime.refused("check", "kept", pod), /prevResult is missing/);
  await runtime.ok("del", "kept", pod);
  assert.equal(await podsOf(stage), 0);

  const attachments = attachmentsFor(t, 1);
  const [added] = await runtime.libcni("ADD", { network: "kept", attachments });
  const [again] = await runtime.libcni("CACHED", { network: "kept", attachments });
  assert.deepEqual(again?.result, added?.result);
  assert.deepEqual(failures(await runtime.libcni("CHECK", { network: "kept", attachments })), []);
  runtime.damageCache();
  assert.match(failures(await runtime.libcni("CHECK", { network: "kept", attachments })).join(), /cached result/);
  assert.deepEqual(failures(await runtime.libcni("DEL", { network: "kept", attachments })), []);
  assert.equal(await podsOf(stage), 0);
});

test(
  "fifty pods at once: all succeed, no address twice, all are checked and deleted at once",
  needsReference,
  async (t) => {
    const stage = await startStage(t);
    const { runtime } = stage;
    const call = { network: "crowd", attachments: attachmentsFor(t, 50) };
    runtime.configure("crowd", [
      ours,
      { type: "tuning", dataDir: runtime.dataDir, sysctl: { "net.core.somaxconn": "500" } },
    ]);
    const added = await runtime.libcni("ADD", call);
    assert.deepEqual(failures(added), []);
    const addresses = added.flatMap(({ result }) => result?.ips.map(({ address }) => address) ?? []);
    assert.deepEqual([addresses.length, new Set(addresses).size], [100, 100]);
    assert.deepEqual(failures(await runtime.libcni("CHECK", call)), []);
    assert.equal(await podsOf(stage), 50);
    assert.deepEqual(failures(await runtime.libcni("DEL", call)), []);
    assert.equal(await podsOf(stage), 0);
  },
);

test(
  "GC keeps the attachments on its list; without a list, only what the library has cached goes",
  needsReference,
  async (t) => {
    const stage = await startStage(t);
    const { runtime } = stage;
    for (const network of ["swept", "other"]) runtime.configure(network, [ours]);
    const attachments = attachmentsFor(t, 6);
    const [kept, cachedOnly] = [attachments.slice(0, 2), attachments.slice(0, 1)];
    const add = async (network: string, some: readonly Attachment[]): Promise<void> =>
      assert.deepEqual(failures(await runtime.libcni("ADD", { network, attachments: some })), []);
    const check = async (network: string, some: readonly Attachment[]): Promise<void> =>
      assert.deepEqual(failures(await runtime.libcni("CHECK", { network, attachments: some })), []);
    await add("swept", attachments.slice(0, 5));
    await add("other", attachments.slice(5));

    assert.deepEqual(failures(await runtime.libcni("GC", { network: "swept", attachments: kept })), []);
    assert.equal(await podsOf(stage), 3);
    await check("swept", kept);
    await check("other", attachments.slice(5));

    // A runtime that has lost its cache but knows its pods: nothing is sent but the list.
    runtime.forget();
    assert.deepEqual(failures(await runtime.libcni("GC", { network: "swept", attachments: cachedOnly })), []);
    assert.equal(await podsOf(stage), 2);
    // One that has lost both says nothing, and nothing goes.
    assert.deepEqual(failures(await runtime.libcni("GC", { network: "swept" })), []);
    assert.equal(await podsOf(stage), 2);
    for (const network of ["swept", "other"]) {
      assert.deepEqual(failures(await runtime.libcni("GC", { network, attachments: [] })), []);
    }
    assert.equal(await podsOf(stage), 0);
  },
);

test(
  "STATUS: silent while the agent serves, 50 when it is gone; a list with a plugin that is not there fails",
  needsReference,
  async (t) => {
    const { agent, runtime } = await startStage(t);
    runtime.configure("asked", [ours]);
    const status = async (): Promise<string[]> => failures(await runtime.libcni("STATUS", { network: "asked" }));
    assert.deepEqual(await status(), []);
    await agent.stop();
    assert.match((await status()).join(), /^50 .*agent of this node cannot be reached/);
    await agent.start();
    assert.deepEqual(await status(), []);
    runtime.configure("asked", [ours, { type: "absent" }]);
    assert.match((await status()).join(), /failed to find plugin "absent"/);
  },
);
