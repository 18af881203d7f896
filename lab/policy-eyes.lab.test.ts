// The lab's own eyes for who may talk to whom: the expectation that should see what was broken must be the step that fails.

import { type EyesCase, testEyes } from "../test/lab-eyes.ts";

const stage = `cluster kubernetes nodes=2 outside=yes
  namespace shop
  pod web on node-1 in shop labels app=web ports http=8080/tcp
  pod db on node-2 in shop labels app=db`;
const asWhySays = "expect every flow passes or not as fairlead why says";

/** A rule in a chain of its own on the node's way of forwarded packets, before any policy. */
function ruled(rule: string): string {
  return [
    "in node-2 run nft add table inet broken",
    "in node-2 run nft add chain inet broken way { type filter hook forward priority -5 ; }",
    `in node-2 run nft add rule inet broken way ${rule}`,
  ].join("\n");
}

const cases: EyesCase[] = [
  {
    name: "a flow that is lost though nobody forbids it",
    steps: `${stage}\n${asWhySays}\n${ruled("udp dport 8080 ip saddr {web.v4} drop")}\n${asWhySays}`,
    seen: /^shop\/web -> shop\/db, udp 8080 over v4: it does not pass \(no answer in time\); fairlead why says it does$/,
  },
  {
    name: "flows that pass though a policy forbids them",
    steps: `${stage}\nkill agent on node-1\nkill agent on node-2\napply deny-all.yaml\n${asWhySays}`,
    seen: /^shop\/web -> shop\/db, tcp 7\d\d\d over v4: it passes; fairlead why says it does not \(ingress NetworkPolicy: NetworkPolicy shop\/deny-all\)$/m,
  },
  {
    name: "an echo that is lost, against the table before",
    steps: `${stage}\n${asWhySays}\n${ruled("meta l4proto ipv6-icmp icmpv6 type echo-request ip6 saddr {outside.v6} drop")}\nexpect every flow passes or not as before`,
    seen: /^outside -> shop\/db, icmp over v6: it does not pass \(no echo reply\); before, it does$/,
  },
  {
    name: "addresses translated on the way",
    steps: `${stage}
      ${asWhySays}
      in node-1 run nft add table ip broken
      in node-1 run nft add chain ip broken way { type nat hook postrouting priority 100 ; }
      in node-1 run nft add rule ip broken way oifname eth0 udp dport 8080 masquerade
      ${asWhySays}`,
    seen: /^shop\/web -> shop\/db, udp 8080 over v4: seen from 172\.30\.0\.11, not from 10\.4\.\d+\.\d+$/m,
  },
  {
    name: "a held connection that is reset",
    steps: `${stage}\nhold a connection from web to db\n${ruled("meta nfproto ipv6 tcp flags != syn reject with tcp reset")}\nexpect the connection from web to db goes on`,
    seen: /^v6: it was cut -?\d+ ms after the last change: ECONNRESET$/,
  },
  {
    name: "a held connection that says nothing any more",
    steps: `${stage}\nhold a connection from web to db\n${ruled("tcp dport 7000-7999 ip saddr {web.v4} drop")}\nexpect the connection from web to db goes on`,
    seen: /^v4: it is open, and within 10 s \d bytes came back$/,
  },
  {
    name: "a held connection that is lost in silence, not reset",
    steps: `${stage}\nhold a connection from web to db\n${ruled("tcp dport 7000-7999 drop")}\nexpect the connection from web to db is reset within 1s`,
    seen: /^v4: it is still open after 1000 ms; the last byte came back -?\d+ ms after the last change\nv6: it is still open/,
  },
  {
    name: "a held connection that goes on",
    steps: `${stage}\nhold a connection from web to db\nlabel pod web app=x\nexpect the connection from web to db is reset within 1s`,
    seen: /^v4: it is still open after 1000 ms/,
  },
  {
    name: "an answer of fairlead why without the words",
    steps: `${stage}\napply deny-all.yaml\nexpect fairlead why from web to db port 8080 says "does NOT pass"\nexpect fairlead why from web to outside port 80 says "no NetworkPolicy isolates pod shop/db"`,
    seen: /^shop\/web -> 203\.\S+, tcp 80\n\nIPv4 /,
  },
  {
    name: "a question that fairlead why cannot answer",
    steps: `${stage}\nexpect fairlead why from web to db port 70000 says "x"`,
    seen: /^fairlead why shop\/web shop\/db 70000\/tcp: exit 2: .*70000/,
  },
  {
    name: "an object that is accepted",
    steps: `${stage}\nexpect apply deny-all.yaml fails with "denied"`,
    seen: /^deny-all\.yaml was accepted$/,
  },
  {
    name: "an object that is refused for another reason",
    steps: `${stage}\nexpect apply group-of-nobody.yaml fails with "the moon"`,
    seen: /^group-of-nobody\.yaml: SecurityGroup nobodys.*bindableFrom/,
  },
  {
    name: "an object that is refused",
    steps: `${stage}\napply group-of-nobody.yaml`,
    seen: /group-of-nobody\.yaml: SecurityGroup nobodys.*bindableFrom/,
  },
  {
    name: "an object that is not there to be deleted",
    steps: `${stage}\ndelete deny-all.yaml`,
    seen: /deny-all\.yaml: NetworkPolicy deny-all.*404/,
  },
];

testEyes(cases, { lab: "pe", atOnce: 2 });
