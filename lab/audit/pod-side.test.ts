// The inside of a living pod, one thing changed at a time, and all that the audit says of it.

import { present } from "../../src/base/assert.ts";
import {
  amend,
  type Case,
  type Exact,
  host,
  hostMac,
  ip,
  key,
  link,
  pod,
  podLinkOf,
  podMac,
  podOf,
  stopped,
  testCases,
  unicast,
  veth,
} from "../../test/exact-node.ts";
import type { SeenRoute } from "./seen.ts";

const podLink = `interface eth0 of ${key} in ${pod}`;

const routeOf = (one: Exact, at: number): SeenRoute => present(podOf(one).routes[at], `route ${at}`);

const interfaces: Case[] = [
  [
    "no interface",
    (one) => {
      const inside = podOf(one);
      inside.links.pop();
      inside.routes = [];
      inside.neighbours = [];
    },
    [`${podLink} is missing`],
  ],
  ["another kind", (one) => (podLinkOf(one).kind = "dummy"), [`${podLink} is a dummy, not a veth`]],
  ["down", (one) => (podLinkOf(one).up = false), [`${podLink} is down`]],
  ["the far end down", (one) => (podLinkOf(one).running = false), [`the other end of ${podLink} is down or gone`]],
  [
    "another hardware address, MTU and index",
    (one) => Object.assign(podLinkOf(one), { mac: hostMac, mtu: 1400, index: 7 }),
    [
      `${podLink} has the hardware address ${hostMac}, not ${podMac}`,
      `${podLink} has MTU 1400, not 1500`,
      `${podLink} has index 7, not 1001`,
      `${podLink} is not the other end of ${host}`,
    ],
  ],
  [
    "the other end of somebody else",
    (one) => (podLinkOf(one).peerIndex = 4),
    [`${podLink} is not the other end of ${host}`],
  ],
  ["a loopback that is down", (one) => (present(podOf(one).links[0], "lo").up = false), [`lo is down in ${pod}`]],
  [
    "addresses lost, strange and not usable",
    (one) => {
      podLinkOf(one).addresses = [
        { address: "10.4.1.7/32", usable: true },
        { address: "fd00:10:4:1::2/128", usable: false },
      ];
    },
    [
      `${podLink} lacks the address 10.4.1.2/32`,
      `${podLink} lacks the address fe80::ff:fe00:2/64`,
      `${podLink} has the address 10.4.1.7/32, which nobody gave it`,
      `${podLink} cannot use its address fd00:10:4:1::2/128 yet`,
    ],
  ],
  [
    "an end that waits for its removal",
    (one) => podOf(one).links.push(link({ ...veth, name: "flx7", up: false })),
    [`~link flx7 is still in ${pod}`],
  ],
  [
    "the same without an agent",
    (one) => {
      stopped(one);
      podOf(one).links.push(link({ ...veth, name: "flx7", up: false }));
    },
    [],
  ],
  ["another plugin's interface", (one) => podOf(one).links.push(link({ name: "tunl0", kind: "ipip" })), []],
];

const sourceRule = (src: string) => ({ priority: 20_000, src, table: "1001", protocol: 142 });

const ways: Case[] = [
  [
    "no default routes",
    (one) => (podOf(one).routes = podOf(one).routes.filter(({ via }) => via === undefined)),
    [
      `route 0.0.0.0/0 via 169.254.1.1 dev eth0 src 10.4.1.2 is missing in ${pod}`,
      `route ::/0 via fe80::1 dev eth0 is missing in ${pod}`,
    ],
  ],
  [
    "routes of somebody else",
    (one) =>
      podOf(one).routes.push(
        { ...unicast, to: "10.0.0.0/8", link: "eth0", protocol: 3 },
        { ...unicast, to: "10.1.0.0/16", link: "tunl0", protocol: 3 },
        { ...unicast, to: "fe80::/64", link: "eth0", metric: 256, protocol: 2 },
      ),
    [
      `route 10.0.0.0/8 dev eth0 proto 3 is there in ${pod}, and nobody needs it`,
      `route fe80::/64 dev eth0 metric 256 proto 2 is there in ${pod}, and nobody needs it`,
    ],
  ],
  [
    "a second interface, whose routes rank behind those of the first and stand in a table of their own",
    (one) => {
      const { routes, rules } = podOf(one);
      routes.push(...[0, 1, 2, 3].map((at) => ({ ...routeOf(one, at), table: 1001 })));
      for (const at of [0, 1, 2, 3]) routeOf(one, at).metric = 1001;
      rules.push(sourceRule("10.4.1.2"), sourceRule("fd00:10:4:1::2"));
    },
    [],
  ],
  [
    "a second interface in one family that lacks its table and rule, and has the rule of another",
    (one) => {
      for (const at of [0, 1]) routeOf(one, at).metric = 1001;
      podOf(one).rules.push(sourceRule("10.4.1.77"), { ...sourceRule("10.4.1.78"), protocol: 3 });
    },
    [
      `route 169.254.1.1/32 dev eth0 scope link table 1001 is missing in ${pod}`,
      `route 0.0.0.0/0 via 169.254.1.1 dev eth0 src 10.4.1.2 table 1001 is missing in ${pod}`,
      `rule from 10.4.1.2 to table 1001 is missing in ${pod}`,
      `rule from 10.4.1.77 to table 1001 is there in ${pod}, and nobody needs it`,
    ],
  ],
  [
    "a rank that nobody has",
    (one) => (routeOf(one, 0).metric = 77),
    [
      `route 169.254.1.1/32 dev eth0 scope link is missing in ${pod}`,
      `route 169.254.1.1/32 dev eth0 scope link metric 77 is there in ${pod}, and nobody needs it`,
    ],
  ],
  [
    "neighbours",
    (one) => {
      podOf(one).neighbours = [
        { address: "169.254.1.1", link: "eth0", mac: podMac, permanent: true },
        { address: "fe80::1", link: "eth0", mac: hostMac, permanent: false },
      ];
    },
    [
      `permanent neighbour 169.254.1.1 at ${hostMac} on eth0 is missing in ${pod}`,
      `permanent neighbour fe80::1 at ${hostMac} on eth0 is missing in ${pod}`,
      `permanent neighbour 169.254.1.1 at ${podMac} on eth0 is there in ${pod}, and nobody needs it`,
    ],
  ],
];

const families: Case[] = [
  [
    "an attachment that should have IPv4 alone",
    (one) => {
      one.node.blocks = one.node.blocks.slice(0, 1);
      amend(one, { addresses: [ip("10.4.1.2")] });
    },
    [
      `route fd00:10:4:1::2/128 dev ${host} src fd00:30::11 is on the node, and nobody needs it`,
      "route unreachable fd00:10:4:1::/64 metric 4000000 is on the node, and nobody needs it",
      `permanent neighbour fd00:10:4:1::2 at ${podMac} on ${host} is there on the node, and nobody needs it`,
      `${podLink} has the address fd00:10:4:1::2/128, which nobody gave it`,
      `${podLink} has the address fe80::ff:fe00:2/64, which nobody gave it`,
      `route fe80::1/128 dev eth0 is there in ${pod}, and nobody needs it`,
      `route ::/0 via fe80::1 dev eth0 is there in ${pod}, and nobody needs it`,
      `permanent neighbour fe80::1 at ${hostMac} on eth0 is there in ${pod}, and nobody needs it`,
      `the source guard lists ok6: "${host}" . fd00:10:4:1::2, which nobody has`,
    ],
  ],
];

testCases([...interfaces, ...ways, ...families]);
