// Who is attached and with which addresses: runtime, agent and state file against each other, one thing changed at a time.

import {
  attach,
  type Case,
  file,
  host,
  hostMac,
  ip,
  journalOf,
  key,
  lease,
  living,
  nowMs,
  podMac,
  stopped,
  testCases,
} from "../../test/exact-node.ts";
import type { LivingLink } from "./living.ts";

const known = living().link as LivingLink;
const otherLink: LivingLink = {
  netnsPath: "/run/netns/p2",
  mtu: 1400,
  host: { name: "flother", mac: known.pod.mac },
  pod: { name: "eth1", mac: known.host.mac },
};

const lists: Case[] = [
  ["a lease without a link", (one) => attach(one, lease(), ["runtime", "agent", "file"]), []],
  ["no runtime to ask", ({ node }) => delete node.known, []],
  ["a result of an old version", ({ node }) => (node.known = [{ ...living(), link: "untold" }]), []],
  [
    "an attachment that no runtime knows",
    ({ node }) => (node.known = []),
    [`~the agent holds attachment ${key}, which no runtime knows`],
  ],
  [
    "an attachment that the agent has lost",
    (one) => attach(one, lease(), ["runtime"]),
    ["the runtime knows attachment fairlead/c2/eth0, the agent does not"],
  ],
  [
    "one in the file alone",
    (one) => attach(one, lease(), ["runtime", "file"]),
    [
      "~attachment fairlead/c2/eth0 stands in the state file, but the agent does not know it",
      "the runtime knows attachment fairlead/c2/eth0, the agent does not",
    ],
  ],
  [
    "one that was not written down",
    (one) => attach(one, lease(), ["runtime", "agent"]),
    ["~attachment fairlead/c2/eth0 is known to the agent, but not written in its state file"],
  ],
  [
    "one in two versions",
    (one) => (journalOf(one).attachments = [{ state: "planned", living: living() }]),
    [`~attachment ${key} is not the same in the agent's list as in its state file`],
  ],
  [
    "an ADD under way",
    ({ seen }) => (seen.agent = { attachments: [{ state: "planned", living: living() }], calls: 1 }),
    [
      `~attachment ${key} is not the same in the agent's list as in its state file`,
      "~the agent still works on 1 calls",
      `~attachment ${key} is still planned`,
    ],
  ],
  ["an agent without an answer", ({ seen }) => (seen.agent = "no answer"), ["the agent does not answer: no answer"]],
  ["a damaged state file", ({ seen }) => (seen.journal = "malformed"), ["~the state file cannot be read: malformed"]],
  [
    "a damaged record",
    (one) => journalOf(one).unreadable.push("the record of x is none"),
    ["in the state file: the record of x is none"],
  ],
  [
    "other addresses",
    ({ node }) => (node.known = [{ ...living(), addresses: [ip("10.4.1.7")] }]),
    [`attachment ${key}: the runtime knows its addresses as 10.4.1.7, the agent as 10.4.1.2, fd00:10:4:1::2`],
  ],
  [
    "a link where the runtime knows none",
    ({ node }) => (node.known = [{ ...living(), link: "none" }]),
    [`attachment ${key}: the agent knows a link, the runtime does not`],
  ],
  [
    "another link than the runtime knows",
    ({ node }) => (node.known = [{ ...living(), link: otherLink }]),
    [
      `attachment ${key}: the runtime knows its namespace as /run/netns/p2, the agent as /run/netns/p1`,
      `attachment ${key}: the runtime knows its MTU as 1400, the agent as 1500`,
      `attachment ${key}: the runtime knows its host link as flother, the agent as ${host}`,
      `attachment ${key}: the runtime knows the hardware address of its host link as ${podMac}, the agent as ${hostMac}`,
      `attachment ${key}: the runtime knows its pod link as eth1, the agent as eth0`,
      `attachment ${key}: the runtime knows the hardware address of its pod link as ${hostMac}, the agent as ${podMac}`,
    ],
  ],
  [
    "a DEL that waits for the next agent",
    (one) => {
      stopped(one);
      one.node.known = [];
      one.seen.files.push({ ...file("/a/run/releases/1.release", 0o600), releases: key });
    },
    [],
  ],
  [
    "a DEL that nobody wrote down",
    (one) => {
      stopped(one);
      one.node.known = [];
    },
    [`the agent holds attachment ${key}, which no runtime knows`],
  ],
  [
    "an ADD that a kill cut off",
    (one) => {
      stopped(one);
      one.node.agent = "killed";
      journalOf(one).attachments.push({ state: "planned", living: lease() });
    },
    [],
  ],
];

const leases: Case[] = [
  [
    "one address for two",
    (one) => attach(one, { ...lease(), addresses: living().addresses.slice() }, ["runtime", "agent", "file"]),
    [
      `address 10.4.1.2 is leased twice: to ${key} and to fairlead/c2/eth0`,
      `address fd00:10:4:1::2 is leased twice: to ${key} and to fairlead/c2/eth0`,
    ],
  ],
  [
    "addresses of nobody's block",
    (one) => attach(one, { ...lease(), addresses: [ip("10.9.9.9"), ip("fd00::9")] }, ["runtime", "agent", "file"]),
    [
      "address 10.9.9.9 of fairlead/c2/eth0 lies outside the node's blocks 10.4.1.0/24, fd00:10:4:1::/64",
      "address fd00::9 of fairlead/c2/eth0 lies outside the node's blocks 10.4.1.0/24, fd00:10:4:1::/64",
    ],
  ],
  [
    "addresses that are never given",
    (one) =>
      attach(one, { ...lease(), addresses: [ip("10.4.1.255"), ip("fd00:10:4:1::")] }, ["runtime", "agent", "file"]),
    [
      "address 10.4.1.255 of fairlead/c2/eth0 is one that 10.4.1.0/24 never gives",
      "address fd00:10:4:1:: of fairlead/c2/eth0 is one that fd00:10:4:1::/64 never gives",
    ],
  ],
  [
    "addresses that another plugin chose",
    (one) =>
      attach(one, { ...lease(), addresses: [ip("10.9.9.9"), ip("10.9.9.8")], delegated: true }, [
        "runtime",
        "agent",
        "file",
      ]),
    [],
  ],
  [
    "the gateway's address",
    (one) =>
      attach(one, { ...lease(), addresses: [ip("10.4.1.1"), ip("fd00:10:4:1::9")] }, ["runtime", "agent", "file"]),
    ["address 10.4.1.1 of fairlead/c2/eth0 is one that 10.4.1.0/24 never gives"],
  ],
  [
    "a family too many and one too few",
    (one) => attach(one, { ...lease(), addresses: [ip("10.4.1.3"), ip("10.4.1.4")] }, ["runtime", "agent", "file"]),
    [
      "attachment fairlead/c2/eth0 has 2 IPv4 addresses, not 1",
      "attachment fairlead/c2/eth0 has 0 IPv6 addresses, not 1",
    ],
  ],
  [
    "an address in use that cools",
    (one) => journalOf(one).cooling.push({ address: "10.4.1.2", untilMs: nowMs }),
    [`address 10.4.1.2 cools and is leased to ${key} as well`],
  ],
  [
    "a stranger that cools",
    (one) => journalOf(one).cooling.push({ address: "10.9.9.9", untilMs: nowMs }),
    ["address 10.9.9.9, which cools, lies outside the node's blocks 10.4.1.0/24, fd00:10:4:1::/64"],
  ],
  [
    "words that cool",
    (one) =>
      journalOf(one).cooling.push(
        { address: "010.4.1.7", untilMs: nowMs },
        { address: "FD00:10:4:1::7", untilMs: nowMs },
      ),
    ['"010.4.1.7", which cools, is no address', '"FD00:10:4:1::7", which cools, is no address'],
  ],
  [
    "cooling without an end",
    (one) => journalOf(one).cooling.push({ address: "10.4.1.8", untilMs: nowMs + 3_600_000 }),
    ["address 10.4.1.8 is to cool for another 3600 s, longer than any may"],
  ],
  [
    "cooling that is over",
    (one) => journalOf(one).cooling.push({ address: "10.4.1.8", untilMs: nowMs - 20_000 }),
    ["~address 10.4.1.8 has cooled 20 s ago and is not freed"],
  ],
  [
    "the file of another boot",
    (one) => (journalOf(one).facts = new Map([["bootId", "earlier"]])),
    ["the state file is of boot earlier, the machine of this boot"],
  ],
  [
    "a fact of another program",
    (one) =>
      (journalOf(one).facts = new Map([
        ["bootId", "this boot"],
        ["mood", "good"],
      ])),
    ['the state file holds a fact "mood" that the audit does not know'],
  ],
  ["connections of an address that cools", ({ seen }) => seen.flows.push(["10.4.1.9", "172.30.0.12"]), []],
  [
    "connections of a dead address",
    ({ seen }) => seen.flows.push(["172.30.0.12", "10.4.1.8", "10.4.1.8", "172.30.0.12"], ["10.4.1.8", "10.4.1.2"]),
    ["2 tracked connections of 10.4.1.8, which no pod has and which does not cool"],
  ],
  [
    "the same, ignored",
    ({ node, seen }) => {
      node.deadFlows = "ignored";
      seen.flows.push(["172.30.0.12", "10.4.1.8"]);
    },
    [],
  ],
];

testCases([["nothing", () => {}, []], ...lists, ...leases]);
