// `fairlead check` on a node that is well, and on one with each thing wrong that it looks at.

import assert from "node:assert/strict";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { startTestAgent, type TestAgent } from "../../test/agent.ts";
import { makeNetns } from "../../test/netns.ts";
import { until } from "../../test/until.ts";
import { checkNode } from "../cli/check.ts";
import { statusSocket } from "./status.ts";

const check = (agent: TestAgent): ReturnType<typeof checkNode> =>
  checkNode({ socket: statusSocket(agent.config.paths.socket), output: "table" });

test("a node that is well: every line is ok", async (t) => {
  const agent = await startTestAgent(t);
  const pod = makeNetns(t);
  await agent.add({ netns: pod.path });
  const { text, well } = await check(agent);
  assert.ok(well, text);
  for (const name of [
    "kernel",
    "loops",
    "addresses",
    "uplink",
    "forwarding",
    "connections",
    "links",
    "plugin",
    "files",
  ]) {
    assert.match(text, new RegExp(`^ok +${name} `, "m"));
  }
  assert.doesNotMatch(text, /BAD|warning/);
});

type Trouble = readonly [what: string, make: (agent: TestAgent) => () => void, line: RegExp];

const troubles: readonly Trouble[] = [
  [
    "a forward chain that drops",
    ({ node }) => {
      node.run("nft", "table ip filter {\nchain FORWARD { type filter hook forward priority filter; policy drop; }\n}");
      return () => node.run("nft", "delete table ip filter");
    },
    /^BAD +forwarding +chain FORWARD of table ip filter drops [^\n]*\n +cure: .*iptables -I FORWARD -i fl\+/m,
  ],
  [
    "a stranger in the doomed group",
    ({ node }) => {
      node.run("ip", "link", "add", "stranger", "group", "99", "type", "bridge");
      return () => node.run("ip", "link", "delete", "stranger");
    },
    /^BAD +links +stranger stands in link group 99.*\n +cure: ip link set stranger group default/m,
  ],
  [
    "another plugin's configuration first",
    ({ config: { paths } }) => {
      const file = join(paths.cniConf, "05-other.conflist");
      writeFileSync(file, "{}");
      return () => rmSync(file);
    },
    /^BAD +plugin +container runtimes take 05-other\.conflist .*\n +cure: move .*05-other\.conflist away/m,
  ],
  [
    "a DEL that could not be read",
    ({ config: { paths } }) => {
      const file = join(paths.socket, "..", "releases", "1.release.bad");
      writeFileSync(file, "x");
      return () => rmSync(file);
    },
    /^warning +files +.*1\.release\.bad is a DEL that could not be read/m,
  ],
  [
    "a state that was set aside",
    ({ config: { paths } }) => {
      const file = join(paths.state, "fairlead.db.damaged-2026-01-02T000000000Z");
      writeFileSync(file, "x");
      return () => rmSync(file);
    },
    /^warning +files +.*damaged-2026-01-02T000000000Z was set aside at a start/m,
  ],
  [
    "a drop-in that is missing",
    ({ config: { paths } }) => {
      mkdirSync(join(paths.etc, "NetworkManager/conf.d"), { recursive: true });
      return () => rmSync(paths.etc, { recursive: true });
    },
    /^warning +files +.*NetworkManager\/conf\.d\/10-fairlead\.conf is missing or changed/m,
  ],
];

test("each trouble has its line, with the cure, and goes with it", async (t) => {
  const agent = await startTestAgent(t);
  for (const [what, make, line] of troubles) {
    const end = make(agent);
    await until(what, async () => line.test((await check(agent)).text));
    assert.equal((await check(agent)).well, !line.source.startsWith("^BAD"), what);
    end();
    await until(`${what}: gone`, async () => !/BAD|warning/.test((await check(agent)).text));
  }
});

test("few or no free addresses, and a pod that has lost its link", async (t) => {
  const agent = await startTestAgent(t, { blocks: ["10.4.1.0/29"] });
  const pods = Array.from({ length: 5 }, () => makeNetns(t));
  for (const [index, pod] of pods.entries()) await agent.add({ containerId: `c${index}`, netns: pod.path });
  assert.match(
    (await check(agent)).text,
    /^BAD +addresses +IPv4: 5 in use, 0 cooling, 0 free\n +cure: give this node another block/m,
  );
  pods[0]?.run("ip", "link", "delete", "eth0");
  agent.audit.expectDamage(/link fl[0-9a-f]{13} of fairlead\/c0\/eth0 is missing/, "the test deletes it");
  await until("the lost link is told", async () =>
    /^BAD +links +the link of eth0 in container c0 is gone/m.test((await check(agent)).text),
  );
});

test("without an agent that is the finding, in both forms", async () => {
  const socket = "/run/fairlead-none/status.sock";
  const { text, well } = await checkNode({ socket, output: "table" });
  assert.equal(well, false);
  assert.match(text, /^BAD +agent +no agent answers at \/run\/fairlead-none\/status\.sock/m);
  const findings = JSON.parse((await checkNode({ socket, output: "json" })).text) as { name: string }[];
  assert.deepEqual(
    findings.map(({ name }) => name),
    ["agent"],
  );
});
