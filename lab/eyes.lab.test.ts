// The lab's own eyes: something is broken on purpose, and the expectation that should see it must be the step that fails.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type EyesCase, testEyes } from "../test/lab-eyes.ts";
import { reportText } from "./report.ts";
import { runScenario } from "./run.ts";
import { parseScenario } from "./scenario.ts";

const oneNode = "cluster routes nodes=1\npod a on node-1\ncheck a\npod b on node-1";
const twoNodes = "cluster routes nodes=2\npod a on node-1\npod c on node-2";

/** A rule in a chain of its own on the node's way of forwarded packets. */
function dropping(match: string): string {
  return [
    "in node-1 run nft add table inet broken",
    "in node-1 run nft add chain inet broken way { type filter hook forward priority 5 ; }",
    `in node-1 run nft add rule inet broken way ${match} drop`,
  ].join("\n");
}

const cases: EyesCase[] = [
  {
    name: "addresses translated on the way",
    steps: `${twoNodes}
      in node-1 run nft add table ip broken
      in node-1 run nft add chain ip broken way { type nat hook postrouting priority 100 ; }
      in node-1 run nft add rule ip broken way oifname eth0 masquerade
      expect a reaches c
      expect every pod reaches every pod from its own address`,
    seen: /a -> c, tcp over v4: seen from 172\.30\.0\.11, the address of a is 10\.4\.1\.\d+/,
  },
  {
    name: "somebody else answers",
    steps: `cluster routes nodes=1
      pod a on node-1
      check a
      pod b on node-1
      container b2 in pod b
      in b run nft add table inet broken
      in b run nft add chain inet broken way { type nat hook prerouting priority -100 ; }
      in b run nft add rule inet broken way tcp dport 7003 redirect to :7004
      expect a reaches b by udp
      expect a reaches b by tcp`,
    seen: /a -> b, tcp over v[46]: b2 answered/,
  },
  {
    name: "UDP lost",
    steps: `${oneNode}\n${dropping("meta l4proto udp")}\nexpect a reaches b by tcp\nexpect a reaches b by icmp\nexpect a reaches b`,
    seen: /^a -> b, udp over v4: no answer in time\na -> b, udp over v6: no answer in time$/,
  },
  {
    name: "IPv6 lost",
    steps: `${oneNode}\n${dropping("meta nfproto ipv6")}\nexpect a reaches b over v4\nexpect every pod reaches every pod`,
    seen: /^(\w -> \w, \w+ over v6: [^\n]*\n?){6}$/,
  },
  {
    name: "large packets lost",
    steps: `${oneNode}\n${dropping("meta length gt 1000")}\nexpect a reaches b by udp\nexpect a reaches b by tcp`,
    seen: /tcp over v4: no answer in time/,
  },
  {
    name: "a node that its pods' way back is closed to",
    steps: `${oneNode}
      in a run nft add table inet broken
      in a run nft add chain inet broken way { type filter hook input priority 0 ; }
      in a run nft add rule inet broken way udp sport != 53 drop
      expect every node reaches its pods`,
    seen: /^node-1 -> a, udp over v4: no answer in time\nnode-1 -> a, udp over v6: no answer in time$/,
  },
  {
    name: "a pod that is reached after all",
    steps: `${oneNode}\nexpect a does not reach b by tcp`,
    seen: /it does reach it/,
  },
  {
    name: "an address lost",
    steps: `${oneNode}\nin a run ip address delete {v6}/128 dev eth0\nexpect every pod has its own addresses`,
    seen: /^fd00:10:4:1::[0-9a-f]+ is not usable on eth0 of a$/,
  },
  {
    name: "another pod's address taken",
    steps: `${oneNode}\nin a run ip address add {b.v4}/32 dev eth0\nexpect every pod has its own addresses`,
    seen: /on eth0 of a but was never promised[^]*both have 10\.4\.1\./,
  },
  {
    name: "containers that do not find each other",
    steps: `${oneNode}\ncontainer a2 in pod a\nexpect a and a2 share localhost\nin a run ip link set lo down\nexpect a and a2 share localhost`,
    seen: /a -> a2, tcp over v4/,
  },
  {
    name: "containers of different pods",
    steps: `${oneNode}\nexpect a and b share localhost`,
    seen: /different namespaces/,
  },
  {
    name: "a hostNetwork pod whose node was changed",
    steps: `${oneNode}\npod h on node-1 hostNetwork\nexpect h is untouched\nin node-1 run ip address add 172.30.0.99/24 dev eth0\nexpect h is untouched`,
    seen: /172\.30\.0\.99 is on eth0 of node-1 but was never promised/,
  },
  {
    name: "a link for a hostNetwork pod",
    steps: `${oneNode}\npod h on node-1 hostNetwork\nin node-1 run ip link add flabc type veth peer name far\nexpect h is untouched`,
    seen: /link flabc leads to the node itself/,
  },
  {
    name: "a CHECK with nothing to find",
    steps: `${oneNode}\nexpect check of a fails with "eth0"`,
    seen: /CHECK found nothing wrong/,
  },
  {
    name: "a CHECK that finds something else",
    steps: `${oneNode}\nin a run ip route delete default\nexpect check of a fails with "colour"`,
    seen: /CHECK of a failed with code \d+: .*route/,
  },
  {
    name: "a CHECK that is to succeed",
    steps: `${oneNode}\nin a run ip link delete eth0\ncheck a`,
    seen: /CHECK of a failed with code/,
  },
  {
    name: "a pod that is to be refused",
    steps: `${oneNode}\nexpect pod c on node-1 fails with "full"`,
    seen: /^c did start on node-1$/,
  },
  {
    name: "a pod that is refused for another reason",
    steps: `${oneNode}\nkill agent on node-1\nexpect pod c on node-1 fails with "full"`,
    seen: /ADD of c failed with code 11/,
  },
  {
    name: "a node that holds more than its pods need",
    steps: `${oneNode}
      expect every node holds exactly what its pods need
      in node-1 run ip link add flleft type bridge
      expect every node holds exactly what its pods need`,
    seen: /^node-1: link flleft \("", group 0\) belongs to no attachment$/,
  },
  {
    name: "a pod that still runs",
    steps: `${oneNode}\nexpect nothing is left on node-1`,
    seen: /pod a still runs on node-1/,
  },
  ...(
    [
      ["a link", "ip link add flabc type bridge", /^link flabc$/],
      ["a route", "ip route add unreachable 10.4.1.77/32", /^route to 10\.4\.1\.77 by /],
      ["a route of another table", "ip route add 10.4.1.77 dev eth0 table 77", /^route to 10\.4\.1\.77 by eth0$/],
      [
        "a neighbour",
        "ip neighbour add 10.4.1.77 lladdr 02:00:00:00:00:01 dev eth0",
        /^neighbour 10\.4\.1\.77 on eth0$/,
      ],
      [
        "a rule",
        "nft add table inet t { set s { type ifname . ipv6_addr ; elements = { fl1 . fd00:10:4:1::77 } ; } ; }",
        /^fd00:10:4:1::77 in the nft/,
      ],
    ] as const
  ).map(([what, command, seen]) => ({
    name: `${what} left over`,
    steps: `cluster routes nodes=1\nexpect nothing is left on node-1\nin node-1 run ${command}\nwithin 1s expect nothing is left on node-1`,
    seen,
  })),
  {
    name: "an agent that does not run",
    steps: `${oneNode}\nkill agent on node-1\nstop agent on node-1`,
    seen: /agent of node-1 does not run/,
  },
  {
    name: "an agent that cannot start",
    steps: "cluster routes nodes=1\nstop agent on node-1\nin node-1 run ip link delete eth0\nstart agent on node-1",
    seen: /agent of node-1 .* ended before it served/,
  },
  {
    name: "a command that fails",
    steps: `${oneNode}\nin a run ip link delete eth7`,
    seen: /ip link delete eth7 .* failed: exit 1: Cannot find device/,
  },
];

testEyes(cases, { lab: "eye", atOnce: 4 });

void test("what a scenario leaves on a node is seen in the end, though every step passed", async () => {
  const damage = "in node-1 run ip link add flstray type bridge\nin a run ip address delete {v6}/128 dev eth0";
  const report = await runScenario(parseScenario(`${oneNode}\n${damage}`, "case"), {
    lab: `eye${process.pid}xend`,
    signal: new AbortController().signal,
  });
  assert.deepEqual([report.ok, report.left, report.audit.length], [false, [], 2], reportText(report));
  const [link, address = ""] = report.audit;
  assert.equal(link, 'node-1: link flstray ("", group 0) belongs to no attachment');
  assert.match(address, /^node-1: interface eth0 of \S+ in \S+-pod-a lacks the address fd00:10:4:1::\w+\/128$/);
  assert.match(
    reportText(report),
    /^FAILED: [^]*\nthe nodes do not hold exactly what their pods need:\n {2}node-1: link fl/,
  );
});
