// A node that holds exactly what its one pod needs, as an audit sees it, and ways to change one thing about it: for unit tests.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../src/base/assert.ts";
import { parseCidr } from "../src/net/cidr.ts";
import { parseIp } from "../src/net/ip.ts";
import { parseMac } from "../src/net/mac.ts";
import { compareNode } from "../lab/audit/audit.ts";
import type { Living } from "../lab/audit/living.ts";
import type { Seen, SeenPod } from "../lab/audit/look.ts";
import type { AuditedNode } from "../lab/audit/node.ts";
import type { SeenLink, SeenNetwork } from "../lab/audit/seen.ts";
import type { Journal } from "../lab/audit/state-file.ts";

export const ip = (text: string) => present(parseIp(text), text);
const cidr = (text: string) => present(parseCidr(text), text);
const mac = (text: string) => present(parseMac(text), text);

export const host = "fl0123456789abc";
export const pod = "/run/netns/p1";
/** Its one attachment. */
export const key = "fairlead/c1/eth0";
export const [hostMac, podMac] = ["02:00:00:00:00:01", "02:00:00:00:00:02"];
export const nowMs = 1_800_000_000_000;

export const living = (): Living => ({
  name: "fairlead/c1/eth0",
  addresses: [ip("10.4.1.2"), ip("fd00:10:4:1::2")],
  link: {
    netnsPath: pod,
    mtu: 1500,
    host: { name: host, mac: mac(hostMac), index: 1000 },
    pod: { name: "eth0", mac: mac(podMac), index: 1001 },
  },
});

export const link = (part: Partial<SeenLink>): SeenLink => ({
  index: 1,
  name: "lo",
  kind: "",
  mac: "",
  mtu: 65_536,
  up: true,
  running: true,
  group: 0,
  alias: "",
  addresses: [],
  ...part,
});

export const veth = { kind: "veth", mtu: 1500 } as const;
export const unicast = { type: 1, scope: 0, table: 254, metric: 0, protocol: 142 } as const;
const main6 = { ...unicast, metric: 1024 } as const;

const hostNetwork = (): SeenNetwork => ({
  links: [
    link({}),
    link({ index: 2, name: "eth0" }),
    link({
      ...veth,
      index: 1000,
      peerIndex: 1001,
      name: host,
      mac: hostMac,
      group: 100,
      alias: "fairlead1 fairlead/c1/eth0",
    }),
  ],
  routes: [
    { ...unicast, to: "10.4.1.2/32", link: host, src: "172.30.0.11", scope: 253 },
    { ...main6, to: "fd00:10:4:1::2/128", link: host, src: "fd00:30::11" },
    { ...unicast, type: 7, to: "10.4.1.0/24", metric: 4_000_000 },
    { ...unicast, type: 7, to: "fd00:10:4:1::/64", metric: 4_000_000 },
    { ...unicast, to: "10.4.2.0/24", via: "172.30.0.12", link: "eth0" },
    { ...unicast, to: "172.30.0.0/24", link: "eth0", protocol: 2 },
    { ...unicast, type: 5, to: "ff00::/8", link: host, metric: 256, table: 255, protocol: 2 },
  ],
  neighbours: [
    { address: "10.4.1.2", link: host, mac: podMac, permanent: true },
    { address: "fd00:10:4:1::2", link: host, mac: podMac, permanent: true },
    { address: "fe80::ff:fe00:2", link: host, mac: podMac, permanent: false },
    { address: "172.30.0.12", link: "eth0", mac: hostMac, permanent: true },
  ],
});

const podNetwork = (): SeenNetwork => ({
  links: [
    link({}),
    link({
      ...veth,
      index: 1001,
      peerIndex: 1000,
      name: "eth0",
      mac: podMac,
      addresses: ["10.4.1.2/32", "fd00:10:4:1::2/128", "fe80::ff:fe00:2/64"].map((address) => ({
        address,
        usable: true,
      })),
    }),
  ],
  routes: [
    { ...unicast, to: "169.254.1.1/32", link: "eth0", scope: 253 },
    { ...unicast, to: "0.0.0.0/0", via: "169.254.1.1", link: "eth0", src: "10.4.1.2" },
    { ...main6, to: "fe80::1/128", link: "eth0" },
    { ...main6, to: "::/0", via: "fe80::1", link: "eth0" },
    { ...unicast, type: 2, to: "10.4.1.2/32", link: "eth0", table: 255, protocol: 2 },
    // As ADD makes it; the kernel's own comes beside it, with metric 0.
    { ...main6, type: 2, to: "fd00:10:4:1::2/128", link: "eth0", table: 255, protocol: 2 },
  ],
  neighbours: [
    { address: "169.254.1.1", link: "eth0", mac: hostMac, permanent: true },
    { address: "fe80::1", link: "eth0", mac: hostMac, permanent: true },
  ],
});

/** As nft prints it, tabs and all. */
const ruleset = `table inet kube-proxy {
	chain other {
	}
}
table inet fairlead {
	comment "Fairlead source guard"
	counter spoof {
		packets 3 bytes 252
	}

	set ok4 {
		type ifname . ipv4_addr
		elements = { "${host}" . 10.4.1.2 }
	}

	set ok6 {
		type ifname . ipv6_addr
		elements = { "${host}" . fd00:10:4:1::2 }
	}

	set any {
		type ifname
	}

	chain guard {
		type filter hook prerouting priority raw; policy accept;
		iifname "fl*" jump guard_pod
	}

	chain guard_pod {
		iifname . ip saddr @ok4 return
		iifname . ip6 saddr @ok6 return
		ip6 saddr { ::, fe80::/10 } ip6 daddr { fe80::/10, ff02::/16 } icmpv6 type { mld2-listener-report, nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-report } return
		iifname @any return
		meta nfproto { ipv4, ipv6 } counter name "spoof" drop
	}
}
`;

export const file = (path: string, mode: number): Seen["files"][number] => ({ path, kind: "file", mode });

/** A running agent's node with one pod, everything as it must be. */
export function exact(): { node: AuditedNode; seen: Seen } {
  const told = { state: "ready" as const, living: living() };
  return {
    node: {
      netnsPath: "/run/netns/node",
      paths: { socket: "/a/run/cni.sock", state: "/a/state", cniConf: "/a/conf", cniBin: "/a/bin" },
      blocks: [cidr("10.4.1.0/24"), cidr("fd00:10:4:1::/64")],
      routes: [{ to: cidr("10.4.2.0/24"), via: ip("172.30.0.12") }],
      uplink: { name: "eth0", addresses: { 4: ip("172.30.0.11"), 6: ip("fd00:30::11") } },
      agent: "runs",
      known: [living()],
    },
    seen: {
      node: hostNetwork(),
      rules: [{ priority: 0, src: "all", table: "255", protocol: 2 }],
      ruleset,
      settings: new Map([
        ["ipv4/ip_forward", "1"],
        ["ipv4/conf/all/send_redirects", "0"],
        ["ipv4/conf/default/send_redirects", "0"],
        ["ipv4/conf/default/accept_redirects", "0"],
        ["ipv6/conf/all/forwarding", "1"],
        ["ipv6/conf/default/accept_redirects", "0"],
        ["ipv6/conf/eth0/accept_ra", "2"],
      ]),
      flows: [["10.4.1.2", "172.30.0.11"]],
      files: [
        ...["/a/run", "/a/run/releases", "/a/state", "/a/bin", "/a/conf"].map((path) => ({
          path,
          kind: "directory" as const,
          mode: 0o700,
        })),
        { path: "/a/run/cni.sock", kind: "socket", mode: 0o600 },
        { path: "/a/run/status.sock", kind: "socket", mode: 0o600 },
        file("/a/state/fairlead.db", 0o600),
        file("/a/state/fairlead.db-wal", 0o600),
        file("/a/bin/fairlead-cni", 0o755),
        file("/a/conf/10-fairlead.conflist", 0o644),
      ],
      journal: {
        attachments: [structuredClone(told)],
        cooling: [{ address: "10.4.1.9", untilMs: nowMs + 30_000 }],
        facts: new Map([["bootId", "this boot"]]),
        unreadable: [],
      },
      agent: { attachments: [told], calls: 0 },
      pods: new Map([[pod, { ...podNetwork(), rules: [] }]]),
      bootId: "this boot",
      nowMs,
    },
  };
}

export type Exact = ReturnType<typeof exact>;
export const journalOf = ({ seen }: Exact): Journal => {
  if (typeof seen.journal === "string") throw new Error(seen.journal);
  return seen.journal;
};
export const podOf = ({ seen }: Exact): SeenPod => present(seen.pods.get(pod), pod);
export const stopped = (one: Exact): void => {
  one.node.agent = "stopped";
  delete one.seen.agent;
  one.seen.files = one.seen.files.filter(({ path }) => !/\.sock$|-wal$/.test(path));
};

export const hostLinkOf = ({ seen }: Exact): SeenLink => present(seen.node.links[2], host);
export const podLinkOf = (one: Exact): SeenLink => present(podOf(one).links[1], "eth0");
export const lease = (): Living => ({
  name: "fairlead/c2/eth0",
  addresses: [ip("10.4.1.3"), ip("fd00:10:4:1::3")],
  link: "none",
});

/** Adds an attachment to the lists of `who`; the kernel is left as it is. */
export function attach({ node, seen }: Exact, other: Living, who: readonly ("runtime" | "agent" | "file")[]): void {
  if (who.includes("runtime")) node.known = [...(node.known ?? []), other];
  if (who.includes("agent") && typeof seen.agent === "object") {
    seen.agent.attachments.push({ state: "ready", living: other });
  }
  if (who.includes("file") && typeof seen.journal === "object") {
    seen.journal.attachments.push({ state: "ready", living: other });
  }
}

/** Changes the attachment in all three lists alike. */
export function amend({ node, seen }: Exact, part: Partial<Living>): void {
  const one = { ...living(), ...part };
  node.known = [one];
  for (const list of [seen.agent, seen.journal])
    if (typeof list === "object") list.attachments = [{ state: "ready", living: one }];
}

/** What changed, and all that is said of it; "~" begins what may pass. */
export type Case = [what: string, change: (one: Exact) => void, differences: string[]];

/** Each case a test: on a node that was exact, exactly that is said of exactly what was changed. */
export function testCases(cases: readonly Case[]): void {
  for (const [what, change, differences] of cases) {
    test(what, () => {
      const one = exact();
      change(one);
      const found = compareNode(one.node, one.seen).map(
        (difference) => `${difference.mayPass ? "~" : ""}${difference.what}`,
      );
      assert.deepEqual(found, differences);
    });
  }
}
