// Ours with addresses that the reference's host-local and static give: we make the links, they are asked in every verb.

import assert from "node:assert/strict";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { until } from "../until.ts";
import { needsReference } from "./programs.ts";
import type { Runtime } from "./runtime.ts";
import { addressOf, assertReached, startStage } from "./stage.ts";

const routes = [{ dst: "0.0.0.0/0" }, { dst: "::/0" }];

/** host-local with one range a family, and its files in the test's directory. */
function hostLocal({ dataDir }: Runtime, subnets = ["10.99.0.0/24", "fd00:99::/64"]): Record<string, unknown> {
  return { type: "host-local", dataDir, ranges: subnets.map((subnet) => [{ subnet }]), routes };
}

/** The addresses that host-local holds for a network: a file each, named by the address. */
function reserved({ dataDir }: Runtime, network: string): string[] {
  return readdirSync(join(dataDir, network))
    .filter((file) => /^(10\.|fd00)/.test(file))
    .sort();
}

test(
  "host-local: the pod has its addresses, every verb is passed on, and DEL frees them",
  needsReference,
  async (t) => {
    const stage = await startStage(t);
    const { runtime, agent } = stage;
    runtime.configure("borrowed", [{ type: "fairlead-cni", ipam: hostLocal(runtime) }]);
    const before = await stage.snapshot();
    const pod = stage.pod();
    const result = await runtime.add("borrowed", pod);
    assert.deepEqual([addressOf(result, 4), addressOf(result, 6)], ["10.99.0.2", "fd00:99::2"]);
    assert.deepEqual(reserved(runtime, "borrowed"), ["10.99.0.2", "fd00:99::2"]);
    assert.deepEqual(await stage.liveAddresses(), [0, 0], "none of ours was taken");
    assert.deepEqual(
      result.ips.map(({ interface: on }) => result.interfaces[on]?.name),
      ["eth0", "eth0"],
    );
    await stage.serve(pod, "pod");
    await assertReached(stage, pod, result);
    await runtime.ok("check", "borrowed", pod);
    await runtime.ok("status", "borrowed", pod);
    await agent.stop();
    await agent.start();
    await runtime.ok("check", "borrowed", pod);
    await runtime.ok("del", "borrowed", pod);
    assert.deepEqual(reserved(runtime, "borrowed"), []);
    await runtime.ok("del", "borrowed", pod);
    assert.deepEqual((await stage.snapshot()).network, before.network);
  },
);

test(
  "host-local's own refusals are heard: CHECK of a lost reservation, a range without a free address",
  needsReference,
  async (t) => {
    const stage = await startStage(t);
    const { runtime } = stage;
    runtime.configure("borrowed", [{ type: "fairlead-cni", ipam: hostLocal(runtime, ["10.99.0.0/30"]) }]);
    const [pod, other] = [stage.pod(), stage.pod()];
    await runtime.add("borrowed", pod);
    assert.match(await runtime.refused("add", "borrowed", other), /no IP addresses available in range set/);
    assert.doesNotMatch(other.run("ip", "link"), /eth0/);
    await runtime.ok("del", "borrowed", other);
    await runtime.ok("check", "borrowed", pod);
    rmSync(join(runtime.dataDir, "borrowed", "10.99.0.2"));
    assert.match(await runtime.refused("check", "borrowed", pod), /Failed to find address added by container/);
    await runtime.ok("del", "borrowed", pod);
  },
);

test("an ADD that fails after host-local gave addresses gives them back", needsReference, async (t) => {
  const stage = await startStage(t);
  const { runtime } = stage;
  runtime.configure("borrowed", [{ type: "fairlead-cni", ipam: hostLocal(runtime) }]);
  const before = await stage.snapshot();
  const pod = stage.pod();
  pod.run("ip", "link", "add", "eth0", "type", "bridge");
  assert.match(await runtime.refused("add", "borrowed", pod), /eth0 exists/);
  assert.deepEqual(reserved(runtime, "borrowed"), []);
  assert.deepEqual(await stage.snapshot(), before);
});

test("DEL while the agent is down: host-local's reservation goes when it is back", needsReference, async (t) => {
  const stage = await startStage(t);
  const { runtime, agent } = stage;
  runtime.configure("borrowed", [{ type: "fairlead-cni", ipam: hostLocal(runtime) }]);
  const before = await stage.snapshot();
  const pod = stage.pod();
  await runtime.add("borrowed", pod);
  await agent.stop();
  await runtime.ok("del", "borrowed", pod);
  await agent.start();
  await until("the reservations are gone", () => reserved(runtime, "borrowed").length === 0);
  assert.deepEqual((await stage.snapshot()).network, before.network);
});

test("GC is passed on with its list: host-local keeps what is listed and frees the rest", needsReference, async (t) => {
  const stage = await startStage(t);
  const { runtime } = stage;
  runtime.configure("borrowed", [{ type: "fairlead-cni", ipam: hostLocal(runtime) }]);
  const attachments = ["keep", "drop"].map((containerId) => ({ containerId, netns: stage.pod().path, ifname: "eth0" }));
  const added = await runtime.libcni("ADD", { network: "borrowed", attachments });
  assert.deepEqual(
    added.map(({ error }) => error),
    [undefined, undefined],
  );
  runtime.forget(); // so that the library sends no DEL before its GC
  const [collected] = await runtime.libcni("GC", { network: "borrowed", attachments: attachments.slice(0, 1) });
  assert.equal(collected?.error, undefined);
  const kept = added[0]?.result?.ips.map(({ address }) => address.replace(/\/.*/, "")) ?? [];
  assert.deepEqual(reserved(runtime, "borrowed"), kept.toSorted());
  await runtime.libcni("DEL", { network: "borrowed", attachments: attachments.slice(0, 1) });
  assert.deepEqual(reserved(runtime, "borrowed"), []);
});

test(
  "a delegate that is not there: ADD and STATUS name it, and DEL of that pod still ends",
  needsReference,
  async (t) => {
    const stage = await startStage(t);
    const { runtime } = stage;
    runtime.configure("borrowed", [{ type: "fairlead-cni", ipam: { type: "absent-ipam" } }]);
    const pod = stage.pod();
    assert.match(await runtime.refused("add", "borrowed", pod), /absent-ipam/);
    assert.match(await runtime.refused("status", "borrowed", pod), /absent-ipam/);
    assert.doesNotMatch(pod.run("ip", "link"), /eth0/);
    await runtime.ok("del", "borrowed", pod);
  },
);

test("static: the addresses of the configuration, or those that the runtime asks for", needsReference, async (t) => {
  const stage = await startStage(t);
  const { runtime } = stage;
  const addresses = [
    { address: "10.98.0.5/24", gateway: "10.98.0.1" },
    { address: "fd00:98::5/64", gateway: "fd00:98::1" },
  ];
  const capabilities = { ips: true };
  runtime.configure("fixed", [{ type: "fairlead-cni", capabilities, ipam: { type: "static", addresses, routes } }]);
  const before = await stage.snapshot();
  const wished = { ips: ["10.98.0.7/24", "fd00:98::7/64"] };
  for (const [last, options] of [
    ["5", {}],
    ["7", { capabilities: wished }],
  ] as const) {
    const pod = stage.pod();
    const result = await runtime.add("fixed", pod, options);
    assert.deepEqual([addressOf(result, 4), addressOf(result, 6)], [`10.98.0.${last}`, `fd00:98::${last}`]);
    await stage.serve(pod, "pod");
    await assertReached(stage, pod, result);
    await runtime.ok("check", "fixed", pod, options);
    await runtime.ok("del", "fixed", pod, options);
    assert.deepEqual((await stage.snapshot()).network, before.network);
  }
});

test("host-local in older versions of the protocol, with portmap and tuning behind ours", needsReference, async (t) => {
  const stage = await startStage(t);
  const { runtime } = stage;
  for (const cniVersion of ["0.3.1", "0.4.0", "1.0.0"]) {
    const network = `v${cniVersion.replaceAll(".", "-")}`;
    runtime.configure(
      network,
      [
        { type: "fairlead-cni", ipam: hostLocal(runtime) },
        { type: "portmap", backend: "nftables", capabilities: { portMappings: true } },
        { type: "tuning", dataDir: runtime.dataDir, sysctl: { "net.core.somaxconn": "500" } },
      ],
      { cniVersion },
    );
    const pod = stage.pod();
    const capabilities = { portMappings: [{ protocol: "tcp", hostPort: 8080, containerPort: 80 }] };
    await runtime.add(network, pod, { capabilities });
    if (cniVersion !== "0.3.1") await runtime.ok("check", network, pod, { capabilities });
    await runtime.ok("del", network, pod, { capabilities });
    assert.deepEqual(reserved(runtime, network), []);
  }
});
