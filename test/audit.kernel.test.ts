// The audit in a real node: every kind of difference in the kernel is caused once, and exactly that difference is told.

import { test } from "node:test";
import { causeEach, type Damage, type Place } from "./audit-damage.ts";

const onNode: Damage[] = [
  {
    what: "a host link deleted",
    cause: ({ node, link }) => node.run("ip", "link", "delete", link),
    seen: ({ hostEnd }) => [`${hostEnd} is missing`],
    // Nothing can bring the pair back: the pod is released.
    stays: ({ hostEnd, link, v4, v6 }) => [
      `the runtime knows attachment ${hostEnd.split(" ").at(-1)}, the agent does not`,
      `${hostEnd} is missing`,
      `the source guard does not list ok4: "${link}" . ${v4}`,
      `the source guard does not list ok6: "${link}" . ${v6}`,
    ],
  },
  {
    what: "an alias changed",
    cause: ({ node, link }) => node.run("ip", "link", "set", link, "alias", "mine"),
    seen: ({ hostEnd }) => [`${hostEnd} has the alias "mine", not "fairlead1 ${hostEnd.split(" ").at(-1)}"`],
  },
  {
    what: "a group changed",
    cause: ({ node, link }) => node.run("ip", "link", "set", link, "group", "7"),
    seen: ({ hostEnd }) => [`${hostEnd} is in group 7, not 100`],
  },
  {
    what: "a host link's hardware address and MTU changed, and the neighbours that the kernel forgets by it",
    cause: ({ node, link }) => node.run("ip", "link", "set", link, "address", "02:00:00:00:00:07", "mtu", "1400"),
    seen: ({ hostEnd, hostMac, podMac, link, v4, v6 }) => [
      `${hostEnd} has the hardware address 02:00:00:00:00:07, not ${hostMac}`,
      `${hostEnd} has MTU 1400, not 1500`,
      `permanent neighbour ${v4} at ${podMac} on ${link} is missing on the node`,
      `permanent neighbour ${v6} at ${podMac} on ${link} is missing on the node`,
    ],
  },
  {
    what: "an address on a host link",
    cause: ({ node, link }) => node.run("ip", "address", "add", "10.9.9.9/32", "dev", link),
    seen: ({ hostEnd }) => [`${hostEnd} has an address, 10.9.9.9/32; it should have none`],
    stays: ({ hostEnd }) => [`${hostEnd} has an address, 10.9.9.9/32; it should have none`],
  },
  {
    what: "a host link that is down, and all that the kernel takes along",
    cause: ({ node, link }) => node.run("ip", "link", "set", link, "down"),
    seen: ({ hostEnd, podEnd, link, podMac, v4, v6 }) => [
      `${hostEnd} is down`,
      `the other end of ${podEnd} is down or gone`,
      `route ${v4}/32 dev ${link} src 172.30.0.11 scope link is missing on the node`,
      `route ${v6}/128 dev ${link} src fd00:30::11 is missing on the node`,
      `permanent neighbour ${v4} at ${podMac} on ${link} is missing on the node`,
      `permanent neighbour ${v6} at ${podMac} on ${link} is missing on the node`,
    ],
  },
  {
    what: "a stray link with a name of ours",
    cause: ({ node }) => node.run("ip", "link", "add", "flstray", "type", "bridge"),
    seen: () => ['link flstray ("", group 0) belongs to no attachment'],
    mend: ({ node }) => node.run("ip", "link", "delete", "flstray"),
  },
  {
    what: "somebody else's link in our group",
    cause: ({ node }) => node.run("ip", "link", "add", "other", "group", "100", "type", "bridge"),
    seen: () => ["link other is not ours, but in our group 100"],
    mend: ({ node }) => node.run("ip", "link", "delete", "other"),
  },
  {
    what: "a pod's route deleted",
    cause: ({ node, v4 }) => node.run("ip", "route", "delete", v4),
    seen: ({ v4, link }) => [`route ${v4}/32 dev ${link} src 172.30.0.11 scope link is missing on the node`],
  },
  {
    what: "a pod's route from another source",
    cause: ({ node, v4, link }) =>
      node.run("ip", "route", "replace", v4, "dev", link, "proto", "142", "scope", "link", "src", "127.0.0.1"),
    seen: ({ v4, link }) => [
      `route ${v4}/32 dev ${link} src 172.30.0.11 scope link is missing on the node`,
      `route ${v4}/32 dev ${link} src 127.0.0.1 scope link is on the node, and nobody needs it`,
    ],
  },
  {
    what: "routes left over: of ours anywhere, of anybody on a link of ours",
    cause: ({ node, link }) => {
      node.run("ip", "route", "add", "10.4.1.77", "dev", "eth0", "table", "77", "proto", "142");
      node.run("ip", "route", "add", "10.4.1.78", "dev", link);
    },
    seen: ({ link }) => [
      "route 10.4.1.77/32 dev eth0 scope link table 77 is on the node, and nobody needs it",
      `route 10.4.1.78/32 dev ${link} scope link proto 3 is on the node, and nobody needs it`,
    ],
    stays: ({ link }) => [`route 10.4.1.78/32 dev ${link} scope link proto 3 is on the node, and nobody needs it`],
  },
  {
    what: "the node's own routes deleted",
    cause: ({ node }) => {
      node.run("ip", "route", "delete", "unreachable", "10.4.1.0/24");
      node.run("ip", "route", "delete", "10.4.2.0/24");
    },
    seen: () => [
      "route unreachable 10.4.1.0/24 metric 4000000 is missing on the node",
      "route 10.4.2.0/24 via 172.30.0.12 dev eth0 is missing on the node",
    ],
  },
  {
    what: "rules of ours",
    cause: ({ node }) => {
      for (const family of ["-4", "-6"]) {
        node.run("ip", family, "rule", "add", "priority", "9", "table", "77", "protocol", "142");
      }
    },
    seen: () => Array.from({ length: 2 }, () => "rule 9 to table 77 is ours, and nobody needs it"),
  },
  {
    what: "neighbours lost, wrong and left over",
    cause: ({ node, v4, v6, link }) => {
      const set = (...words: string[]): string => node.run("ip", "neighbour", ...words, "dev", link);
      set("delete", v4);
      set("replace", v6, "lladdr", "02:00:00:00:00:07", "nud", "permanent");
      set("add", "10.4.1.77", "lladdr", "02:00:00:00:00:07", "nud", "permanent");
    },
    seen: ({ v4, v6, link, podMac }) => [
      `permanent neighbour ${v4} at ${podMac} on ${link} is missing on the node`,
      `permanent neighbour ${v6} at ${podMac} on ${link} is missing on the node`,
      `permanent neighbour ${v6} at 02:00:00:00:00:07 on ${link} is there on the node, and nobody needs it`,
      `permanent neighbour 10.4.1.77 at 02:00:00:00:00:07 on ${link} is there on the node, and nobody needs it`,
    ],
    stays: ({ link }) => [
      `permanent neighbour 10.4.1.77 at 02:00:00:00:00:07 on ${link} is there on the node, and nobody needs it`,
    ],
  },
];

test("what is wrong on the node's side", (t) => causeEach(t, onNode, "stopped"));

const inPod: Damage[] = [
  {
    what: "the interface renamed, with its routes",
    cause: ({ pod }) => pod.run("ip", "link", "set", "eth0", "name", "eth9"),
    seen: ({ podEnd, pod, v4 }) => [
      `${podEnd} is missing`,
      ...[`0.0.0.0/0 via 169.254.1.1 dev eth9 src ${v4}`, "169.254.1.1/32 dev eth9 scope link"].map(
        (route) => `route ${route} is there in ${pod.path}, and nobody needs it`,
      ),
      ...["::/0 via fe80::1 dev eth9", "fe80::1/128 dev eth9"].map(
        (route) => `route ${route} is there in ${pod.path}, and nobody needs it`,
      ),
    ],
  },
  {
    what: "the interface changed",
    cause: ({ pod }) => pod.run("ip", "link", "set", "eth0", "mtu", "1400"),
    seen: ({ podEnd }) => [`${podEnd} has MTU 1400, not 1500`],
  },
  {
    what: "the loopback down",
    cause: ({ pod }) => pod.run("ip", "link", "set", "lo", "down"),
    seen: ({ pod }) => [`lo is down in ${pod.path}`],
  },
  {
    what: "an address lost",
    cause: ({ pod, v6 }) => pod.run("ip", "address", "delete", `${v6}/128`, "dev", "eth0"),
    seen: ({ podEnd, v6 }) => [`${podEnd} lacks the address ${v6}/128`],
  },
  {
    what: "an address too many",
    cause: ({ pod }) => pod.run("ip", "address", "add", "10.4.1.77/32", "dev", "eth0"),
    seen: ({ podEnd }) => [`${podEnd} has the address 10.4.1.77/32, which nobody gave it`],
  },
  {
    what: "an address that is tentative",
    cause: ({ pod, v6 }) => {
      pod.run("sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=1", "net.ipv6.conf.eth0.dad_transmits=600");
      pod.run("ip", "address", "delete", `${v6}/128`, "dev", "eth0");
      pod.run("ip", "address", "add", `${v6}/128`, "dev", "eth0", "noprefixroute");
    },
    seen: ({ podEnd, v6 }) => [`${podEnd} cannot use its address ${v6}/128 yet`],
  },
  {
    what: "routes lost and too many",
    cause: ({ pod }) => {
      pod.run("ip", "route", "delete", "default");
      pod.run("ip", "-6", "route", "add", "2001:db8::/32", "via", "fe80::1", "dev", "eth0");
    },
    seen: ({ pod, v4 }) => [
      `route 0.0.0.0/0 via 169.254.1.1 dev eth0 src ${v4} is missing in ${pod.path}`,
      `route 2001:db8::/32 via fe80::1 dev eth0 proto 3 is there in ${pod.path}, and nobody needs it`,
    ],
  },
  {
    what: "a neighbour lost",
    cause: ({ pod }) => pod.run("ip", "neighbour", "delete", "fe80::1", "dev", "eth0"),
    seen: ({ pod, hostMac }) => [`permanent neighbour fe80::1 at ${hostMac} on eth0 is missing in ${pod.path}`],
  },
  {
    what: "the end of a pair that nobody removes",
    cause: ({ pod }) => pod.run("ip", "link", "add", "flx7", "type", "bridge"),
    seen: ({ pod }) => [`link flx7 is still in ${pod.path}`],
  },
];

test("what is wrong inside a pod", (t) => causeEach(t, inPod, "runs"));

const nft = ({ node }: Place, ...words: string[]): void => void node.run("nft", words.join(" "));

const inGuard: Damage[] = [
  {
    what: "a pair lost",
    cause: (place) => nft(place, `delete element inet fairlead ok6 { "${place.link}" . ${place.v6} }`),
    seen: ({ link, v6 }) => [`the source guard does not list ok6: "${link}" . ${v6}`],
  },
  {
    what: "a pair too many",
    cause: (place) => nft(place, 'add element inet fairlead ok4 { "flstray" . 10.4.1.77 }'),
    seen: () => ['the source guard lists ok4: "flstray" . 10.4.1.77, which nobody has'],
  },
  {
    what: "another table of our name",
    cause: (place) => nft(place, "add table ip fairlead"),
    seen: () => ["nft table ip fairlead is there, and nobody needs it"],
    mend: (place) => nft(place, "delete table ip fairlead"),
  },
  {
    what: "connections of a dead address, beside one of a living pod",
    cause: ({ node, v4 }) => {
      const ways = [
        ["10.4.1.77", "172.30.0.12"],
        ["fd00:10:4:1::77", "fd00:30::12"],
        [v4, "172.30.0.12"],
      ] as const;
      for (const [from, to] of ways) {
        const ports = ["--sport", "1", "--dport", "2"];
        node.run("conntrack", "-I", "-s", from, "-d", to, "-p", "udp", "-t", "60", ...ports);
      }
    },
    seen: () =>
      ["10.4.1.77", "fd00:10:4:1::77"].map(
        (address) => `1 tracked connections of ${address}, which no pod has and which does not cool`,
      ),
    mend: ({ node }) => node.run("conntrack", "-F"),
  },
  {
    what: "a rule, a chain and a set too many",
    cause: (place) => {
      nft(place, "add rule inet fairlead guard_pod accept");
      nft(place, "add chain inet fairlead mine");
      nft(place, "add set inet fairlead theirs { type ipv4_addr ; }");
    },
    seen: () => [
      'the source guard has a line "accept" that nobody needs',
      'the source guard has a line "chain mine {" that nobody needs',
      'the source guard has a line "set theirs {" that nobody needs',
      'the source guard has a line "type ipv4_addr" that nobody needs',
    ],
  },
];

test("what is wrong in the source guard, and in connection tracking", (t) => causeEach(t, inGuard, "stopped"));

const settings: Damage[] = [
  {
    what: "settings changed",
    cause: ({ node }) =>
      node.run(
        "sysctl",
        "-qw",
        "net.ipv4.ip_forward=0",
        "net.ipv6.conf.all.forwarding=0",
        "net.ipv6.conf.eth0.accept_ra=1",
      ),
    seen: () => [
      "setting ipv4/ip_forward is 0, not 1",
      "setting ipv6/conf/all/forwarding is 0, not 1",
      "setting ipv6/conf/eth0/accept_ra is 1: a forwarding uplink learns no routes by it",
    ],
  },
];

test("what is wrong with settings", (t) => causeEach(t, settings, "stopped"));
