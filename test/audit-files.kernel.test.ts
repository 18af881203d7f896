// The audit in a real node: what is wrong with files, with the state file and with who is attached, and exactly that is told.

import assert from "node:assert/strict";
import { chmodSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { present } from "../src/base/assert.ts";
import { Fault } from "../src/base/fault.ts";
import type { Netns, Op } from "../src/kernel/contract.ts";
import { startTestAgent } from "./agent.ts";
import { attach, causeEach, type Damage, type Place, shortly, untilOnly } from "./audit-damage.ts";
import { until } from "./until.ts";

const inRun = ({ agent }: Place, name: string): string => join(dirname(agent.config.paths.socket), name);
const inState = ({ agent }: Place, name: string): string => join(agent.config.paths.state, name);
const inBin = ({ agent }: Place, name: string): string => join(agent.config.paths.cniBin, name);
const inConf = ({ agent }: Place, name: string): string => join(agent.config.paths.cniConf, name);

const files: Damage[] = [
  {
    what: "modes opened",
    cause: (place) => {
      chmodSync(place.agent.config.paths.socket, 0o666);
      chmodSync(inRun(place, "status.sock"), 0o660);
      chmodSync(inRun(place, "releases"), 0o755);
      chmodSync(inState(place, ""), 0o755);
      chmodSync(inState(place, "fairlead.db"), 0o644);
      chmodSync(inBin(place, "fairlead-cni"), 0o777);
    },
    seen: (place) => [
      `socket ${place.agent.config.paths.socket} has mode 0666, not 0600`,
      `socket ${inRun(place, "status.sock")} has mode 0660, not 0600`,
      `directory ${inRun(place, "releases")} has mode 0755, not 0700`,
      `directory ${place.agent.config.paths.state} has mode 0755, not 0700`,
      `file ${inState(place, "fairlead.db")} has mode 0644, not 0600`,
      `file ${inBin(place, "fairlead-cni")} has mode 0777, not 0755`,
    ],
    mend: (place) => {
      for (const name of ["cni.sock", "status.sock"]) chmodSync(inRun(place, name), 0o600);
      for (const path of [inRun(place, "releases"), inState(place, "")]) chmodSync(path, 0o700);
      chmodSync(inState(place, "fairlead.db"), 0o600);
      chmodSync(inBin(place, "fairlead-cni"), 0o755);
    },
  },
  {
    what: "temporary and strange files",
    cause: (place) => {
      writeFileSync(inBin(place, ".fairlead-cni.0a1b"), "");
      writeFileSync(inConf(place, ".10-fairlead.conflist.0a1b"), "");
      writeFileSync(inState(place, "fairlead.db-journal"), "");
      writeFileSync(inRun(place, "core"), "");
    },
    seen: (place) =>
      [
        inBin(place, ".fairlead-cni.0a1b"),
        inConf(place, ".10-fairlead.conflist.0a1b"),
        inState(place, "fairlead.db-journal"),
        inRun(place, "core"),
      ].map((path) => `file ${path} is there, and nobody needs it`),
    mend: (place) => {
      rmSync(inBin(place, ".fairlead-cni.0a1b"));
      rmSync(inConf(place, ".10-fairlead.conflist.0a1b"));
      rmSync(inState(place, "fairlead.db-journal"));
      rmSync(inRun(place, "core"));
    },
  },
  {
    what: "a release file that cannot be read, which the agent puts aside",
    cause: (place) => writeFileSync(join(inRun(place, "releases"), "1.release"), "no frame", { mode: 0o600 }),
    seen: (place) => [`file ${join(inRun(place, "releases"), "1.release.bad")} is there, and nobody needs it`],
    mend: (place) => rmSync(join(inRun(place, "releases"), "1.release.bad")),
  },
  {
    what: "the list for the runtime gone",
    cause: (place) => renameSync(inConf(place, "10-fairlead.conflist"), inState(place, "aside")),
    seen: (place) => [
      `file ${inConf(place, "10-fairlead.conflist")} is missing`,
      `file ${inState(place, "aside")} is there, and nobody needs it`,
    ],
    mend: (place) => renameSync(inState(place, "aside"), inConf(place, "10-fairlead.conflist")),
  },
];

test("what is wrong with files", (t) => causeEach(t, files, "runs"));

const key = "fairlead/c1/eth0";
const blocks = "10.4.1.0/24, fd00:10:4:1::/64";

/** A second attachment in the file alone: a lease without a link, its record changed by `change`. */
const stray = (change: string): string =>
  `INSERT INTO attachment SELECT 'fairlead/c2/eth0', state, json_set(json_remove(record, '$.wire'), '$.containerId', 'c2', ${change}) FROM attachment`;
const unknown = "the agent holds attachment fairlead/c2/eth0, which no runtime knows";

/** SQL on the state file of a stopped agent, and all that is said of it. */
const edits: [sql: string, seen: string[]][] = [
  [stray(`'$.addresses', json('["10.4.1.9","fd00:10:4:1::9"]')`), [unknown]],
  [
    stray("'$.mark', 1400"),
    [
      unknown,
      `address 10.4.1.2 is leased twice: to ${key} and to fairlead/c2/eth0`,
      `address fd00:10:4:1::2 is leased twice: to ${key} and to fairlead/c2/eth0`,
    ],
  ],
  [
    stray(`'$.addresses', json('["10.9.9.9"]')`),
    [
      unknown,
      `address 10.9.9.9 of fairlead/c2/eth0 lies outside the node's blocks ${blocks}`,
      "attachment fairlead/c2/eth0 has 0 IPv6 addresses, not 1",
    ],
  ],
  [
    stray(`'$.addresses', json('["10.4.1.01"]')`),
    ['in the state file: the record of fairlead/c2/eth0 at addresses.0: "10.4.1.01" is no address'],
  ],
  [stray("'$.ifname', 'eth7'"), ["in the state file: the record of fairlead/c2/eth0 is that of fairlead/c2/eth7"]],
  ["DELETE FROM attachment", [`the runtime knows attachment ${key}, the agent does not`]],
  ["UPDATE attachment SET state = 'planned'", [`attachment ${key} is still planned`]],
  [
    "INSERT INTO cooling VALUES ('10.9.9.9', 0), ('10.4.1.255', 0), ('nowhere', 0), ('10.4.1.2', 0)",
    [
      `address 10.9.9.9, which cools, lies outside the node's blocks ${blocks}`,
      "address 10.4.1.255, which cools, is one that 10.4.1.0/24 never gives",
      '"nowhere", which cools, is no address',
      `address 10.4.1.2 cools and is leased to ${key} as well`,
    ],
  ],
  ["INSERT INTO fact VALUES ('mood', 'good')", ['the state file holds a fact "mood" that the audit does not know']],
  [
    "PRAGMA user_version = 9",
    [
      "the state file cannot be read: its tables have layout 9, the audit reads 2",
      `the runtime knows attachment ${key}, the agent does not`,
    ],
  ],
];

test("what is wrong in the state file", async (t) => {
  const agent = await startTestAgent(t);
  await attach(t, agent, "c1");
  await agent.stop();
  assert.deepEqual(await agent.audit.problems(), []);
  const file = join(agent.config.paths.state, "fairlead.db");
  const whole = readFileSync(file);
  for (const [sql, seen] of edits) {
    const database = new DatabaseSync(file);
    database.exec(sql);
    database.close();
    assert.deepEqual((await agent.audit.problems()).toSorted(), seen.toSorted(), sql);
    writeFileSync(file, whole);
  }
  writeFileSync(file, "no database at all");
  assert.deepEqual(await agent.audit.problems(), [
    "the state file cannot be read: file is not a database",
    `the runtime knows attachment ${key}, the agent does not`,
  ]);
  writeFileSync(file, whole);
});

test("what runtime and agent do not agree on", async (t) => {
  const agent = await startTestAgent(t);
  await attach(t, agent, "c1");
  const known = present(agent.attached.get(key), key);
  agent.attached.clear();
  assert.deepEqual(await agent.audit.problems(shortly), [`the agent holds attachment ${key}, which no runtime knows`]);
  agent.attached.set(key, { ...known, addresses: known.addresses.slice(1) });
  assert.deepEqual(await agent.audit.problems(), [
    `attachment ${key}: the runtime knows its addresses as fd00:10:4:1::2, the agent as 10.4.1.2, fd00:10:4:1::2`,
  ]);
  agent.attached.set(key, known).set("fairlead/c2/eth0", { ...known, name: "fairlead/c2/eth0", link: "untold" });
  assert.deepEqual(await agent.audit.problems(), ["the runtime knows attachment fairlead/c2/eth0, the agent does not"]);
  agent.attached.delete("fairlead/c2/eth0");
});

test("a link that waits for its removal is waited for, and told where that does not come", async (t) => {
  let stuck = true;
  const isRemoval = (op: Op): boolean => op.op.startsWith("link.remove") || (op.op === "link.set" && op.group === 98);
  const agent = await startTestAgent(t, {
    wrap: (kernel) => {
      const { node } = kernel;
      const apply: Netns["apply"] = async (ops) => {
        if (stuck && ops.some(isRemoval)) throw new Fault("kernel-refused", "planned");
        return node.apply(ops);
      };
      return { ...kernel, node: { ...node, id: node.id, apply } };
    },
  });
  const { link, pod } = await attach(t, agent, "c1");
  assert.equal((await agent.cni("DEL", { containerId: "c1", netns: pod.path })).exitCode, 0);
  assert.deepEqual(await agent.audit.problems(shortly), [`link ${link} ("fairlead1 ${key}") waits for its removal`]);
  stuck = false;
  assert.deepEqual(await agent.audit.problems(), []);
});

test("a release file that waits for its turn is waited for, and told where that does not come", async (t) => {
  const { promise: goOn, resolve: letGo } = Promise.withResolvers<void>();
  let stuck = false;
  const agent = await startTestAgent(t, {
    wrap: (kernel) => {
      const { node } = kernel;
      const link: Netns["link"] = async (ref) => {
        if (stuck) await goOn;
        return node.link(ref);
      };
      return { ...kernel, node: { ...node, id: node.id, link } };
    },
  });
  const { pod, result: prevResult } = await attach(t, agent, "c1");
  const { config, cni, audit } = agent;
  await agent.stop();
  assert.equal((await cni("DEL", { containerId: "c1", netns: pod.path })).exitCode, 0);
  assert.deepEqual(await audit.problems(), [], "without an agent it may lie there");
  const releases = join(dirname(config.paths.socket), "releases");
  const [name = ""] = readdirSync(releases);
  const aside = join(config.paths.state, name);
  renameSync(join(releases, name), aside);
  await agent.start();
  stuck = true;
  // A CHECK that does not come to its end: the release of the same container has to wait behind it.
  const check = cni("CHECK", { containerId: "c1", netns: pod.path, config: { prevResult } });
  await until("CHECK has its turn", async () =>
    (await audit.problems({ withinMs: 0 })).some((one) => /works on 1/.test(one)),
  );
  renameSync(aside, join(releases, name));
  const wanted = [
    `release file ${join(releases, name)} for ${key} is not applied`,
    `the agent holds attachment ${key}, which no runtime knows`,
    "the agent still works on 2 calls",
  ];
  await untilOnly(agent, wanted, "the release waits behind CHECK");
  letGo();
  await check;
  assert.deepEqual(await audit.problems(), []);
});
