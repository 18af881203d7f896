// The source guard's table, one thing changed at a time, and all that the audit says of it.

import { type Case, host, testCases } from "../../test/exact-node.ts";

/** A change of the ruleset's text; one that changes nothing would prove nothing. */
function edit(what: string, from: string | RegExp, to: string, differences: string[]): Case {
  return [
    what,
    ({ seen }) => {
      const text = seen.ruleset.replace(from, to);
      if (text === seen.ruleset) throw new Error(`the ruleset does not hold ${String(from)}`);
      seen.ruleset = text;
    },
    differences,
  ];
}

testCases([
  edit("no table", /table inet fairlead[\s\S]*/, "", ["nft table inet fairlead, the source guard, is missing"]),
  edit("a second table", "table inet kube-proxy", "table netdev fairlead-old", [
    "nft table netdev fairlead-old is there, and nobody needs it",
  ]),
  edit("a pair lost", /\t\telements = .* 10\.4\.1\.2 \}\n/, "", [
    `the source guard does not list ok4: "${host}" . 10.4.1.2`,
  ]),
  edit("pairs too many, over several lines", "10.4.1.2 }", `10.4.1.2,\n\t\t\t     "fl7" . 10.4.1.3 }`, [
    'the source guard lists ok4: "fl7" . 10.4.1.3, which nobody has',
  ]),
  edit("a pair of another address", "fd00:10:4:1::2 }", "fd00:10:4:1::3 }", [
    `the source guard does not list ok6: "${host}" . fd00:10:4:1::2`,
    `the source guard lists ok6: "${host}" . fd00:10:4:1::3, which nobody has`,
  ]),
  edit("a rule lost", /.*jump guard_pod\n/, "", ['the source guard lacks the line "iifname "fl*" jump guard_pod"']),
  edit("a rule too many", "\t\tiifname . ip saddr", "\t\taccept\n\t\tiifname . ip saddr", [
    'the source guard has a line "accept" that nobody needs',
  ]),
  edit("a rule softened", '"spoof" drop', '"spoof" accept', [
    'the source guard lacks the line "meta nfproto { ipv4, ipv6 } counter name "spoof" drop"',
    'the source guard has a line "meta nfproto { ipv4, ipv6 } counter name "spoof" accept" that nobody needs',
  ]),
  edit("rules in another order", /(\t\tiifname . ip saddr .*\n)(\t\tiifname . ip6 saddr .*\n)/, "$2$1", [
    "the lines of the source guard stand in another order",
  ]),
  edit("the pieces of a rule's own set in another order", "{ ipv4, ipv6 }", "{ ipv6, ipv4 }", []),
]);
