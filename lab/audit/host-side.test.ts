// The node's side of attachments, one thing changed at a time, and all that the audit says of it.

import { present } from "../../src/base/assert.ts";
import {
  type Case,
  type Exact,
  host,
  hostLinkOf,
  hostMac,
  key,
  link,
  pod,
  podMac,
  podOf,
  stopped,
  testCases,
  unicast,
  veth,
} from "../../test/exact-node.ts";

const hostLink = `link ${host} of ${key}`;
const podLink = `interface eth0 of ${key} in ${pod}`;

const without = <T>(list: readonly T[], at: number): T[] => list.filter((_, index) => index !== at);
const nothingThere = ({ seen }: Exact): void => {
  seen.node.links = seen.node.links.slice(0, 2);
  seen.node.routes = seen.node.routes.filter(({ link }) => link !== host);
  seen.node.neighbours = seen.node.neighbours.filter(({ link }) => link !== host);
};

const links: Case[] = [
  [
    "a pod whose namespace is gone, and its link with it",
    (one) => {
      nothingThere(one);
      one.seen.pods = new Map([[pod, undefined]]);
    },
    [],
  ],
  [
    "a link that is gone though the pod is there",
    (one) => {
      nothingThere(one);
      podOf(one).links.pop();
      podOf(one).routes = [];
      podOf(one).neighbours = [];
    },
    [`${hostLink} is missing`],
  ],
  ["another kind", (one) => (hostLinkOf(one).kind = "bridge"), [`${hostLink} is a bridge, not a veth`]],
  [
    "another alias",
    (one) => (hostLinkOf(one).alias = "mine"),
    [`${hostLink} has the alias "mine", not "fairlead1 ${key}"`],
  ],
  ["another group", (one) => (hostLinkOf(one).group = 7), [`${hostLink} is in group 7, not 100`]],
  ["the far end down", (one) => (hostLinkOf(one).running = false), [`the other end of ${hostLink} is down or gone`]],
  ["down", (one) => (hostLinkOf(one).up = false), [`${hostLink} is down`]],
  [
    "another index",
    (one) => (hostLinkOf(one).index = 3),
    [`${hostLink} has index 3, not 1000`, `${podLink} is not the other end of ${host}`],
  ],
  [
    "another hardware address and MTU",
    (one) => Object.assign(hostLinkOf(one), { mac: podMac, mtu: 1400 }),
    [`${hostLink} has the hardware address ${podMac}, not ${hostMac}`, `${hostLink} has MTU 1400, not 1500`],
  ],
  [
    "an address of its own",
    (one) => hostLinkOf(one).addresses.push({ address: "fe80::1/64", usable: true }),
    [`${hostLink} has an address, fe80::1/64; it should have none`],
  ],
  [
    "a link that waits for the reaper",
    ({ seen }) => seen.node.links.push(link({ ...veth, name: "flx7", group: 99, alias: "fairlead1 a/b/c" })),
    ['~link flx7 ("fairlead1 a/b/c") waits for its removal'],
  ],
  [
    "the same without an agent",
    (one) => {
      stopped(one);
      one.seen.node.links.push(link({ ...veth, name: "flx7", group: 98 }));
    },
    [],
  ],
  [
    "links of nobody",
    ({ seen }) =>
      seen.node.links.push(
        link({ name: "flat", kind: "bridge", group: 99 }),
        link({ name: "veth7", alias: "fairlead1 a/b/c" }),
        link({ name: "other", group: 100 }),
        link({ name: "docker0", group: 97 }),
      ),
    [
      'link flat ("", group 99) belongs to no attachment',
      'link veth7 ("fairlead1 a/b/c", group 0) belongs to no attachment',
      "link other is not ours, but in our group 100",
    ],
  ],
];

const routes: Case[] = [
  [
    "a pod's route is missing",
    ({ seen }) => (seen.node.routes = without(seen.node.routes, 0)),
    [`route 10.4.1.2/32 dev ${host} src 172.30.0.11 scope link is missing on the node`],
  ],
  [
    "a block is open, a way to another node closed",
    ({ seen }) => seen.node.routes.splice(3, 2),
    [
      "route unreachable fd00:10:4:1::/64 metric 4000000 is missing on the node",
      "route 10.4.2.0/24 via 172.30.0.12 dev eth0 is missing on the node",
    ],
  ],
  [
    "another source",
    ({ seen }) => (present(seen.node.routes[1], "route").src = "fd00:30::99"),
    [
      `route fd00:10:4:1::2/128 dev ${host} src fd00:30::11 is missing on the node`,
      `route fd00:10:4:1::2/128 dev ${host} src fd00:30::99 is on the node, and nobody needs it`,
    ],
  ],
  [
    "routes of nobody",
    ({ seen }) =>
      seen.node.routes.push(
        { ...unicast, to: "10.4.1.7/32", link: "eth0", metric: 5 },
        { ...unicast, to: "10.4.1.8/32", link: host, protocol: 3 },
        { ...unicast, to: "10.4.3.0/24", via: "172.30.0.13", table: 77 },
        { ...unicast, to: "192.0.2.0/24", via: "172.30.0.1", protocol: 4 },
      ),
    [
      "route 10.4.1.7/32 dev eth0 metric 5 is on the node, and nobody needs it",
      `route 10.4.1.8/32 dev ${host} proto 3 is on the node, and nobody needs it`,
      "route 10.4.3.0/24 via 172.30.0.13 table 77 is on the node, and nobody needs it",
    ],
  ],
  [
    "rules",
    ({ seen }) =>
      seen.rules.push(
        { priority: 9, src: "all", table: "7", protocol: 142 },
        { priority: 8, src: "all", table: "7", protocol: 3 },
      ),
    ["rule 9 to table 7 is ours, and nobody needs it"],
  ],
  [
    "neighbours",
    ({ seen }) => {
      seen.node.neighbours[0] = { address: "10.4.1.2", link: host, mac: hostMac, permanent: true };
      present(seen.node.neighbours[1], "neighbour").permanent = false;
    },
    [
      `permanent neighbour 10.4.1.2 at ${podMac} on ${host} is missing on the node`,
      `permanent neighbour fd00:10:4:1::2 at ${podMac} on ${host} is missing on the node`,
      `permanent neighbour 10.4.1.2 at ${hostMac} on ${host} is there on the node, and nobody needs it`,
    ],
  ],
];

testCases([...links, ...routes]);
