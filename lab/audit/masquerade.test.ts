// The masquerade's table, one thing changed at a time, and all that the audit says of it.

import { type Exact, testCases } from "../../test/exact-node.ts";

/** As nft prints it; set names end with ten digits of their content. */
const table = `table inet fairlead-masq {
	comment "Fairlead masquerade"
	set pods4_0123456789 {
		type ipv4_addr
		flags constant,interval
		elements = { 10.4.1.0/24 }
	}

	set kept4_abcdef0123 {
		type ipv4_addr
		flags constant,interval
		elements = { 10.0.0.0/8, 169.254.0.0/16,
			     192.168.0.0/16 }
	}

	chain postrouting {
		type nat hook postrouting priority srcnat + 10; policy accept;
		ip saddr @pods4_0123456789 jump leaving
	}

	chain leaving {
		fib daddr type local return
		ip daddr @kept4_abcdef0123 return
		masquerade fully-random
	}
}
`;

function masquerading({ node, seen }: Exact): void {
  node.masquerade = { pods: ["10.4.1.0/24"], kept: ["10.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16"] };
  seen.ruleset += table;
}

const edit =
  (from: string, to: string) =>
  (one: Exact): void => {
    masquerading(one);
    const text = one.seen.ruleset.replace(from, to);
    if (text === one.seen.ruleset) throw new Error(`the ruleset does not hold ${from}`);
    one.seen.ruleset = text;
  };

testCases([
  ["a table that is right", masquerading, []],
  ["no table", edit(table, ""), ["nft table inet fairlead-masq is missing"]],
  [
    "a table where masquerade is off",
    (one) => {
      masquerading(one);
      delete one.node.masquerade;
    },
    ["nft table inet fairlead-masq is there, and nobody needs it"],
  ],
  [
    "a rule lost",
    edit("\t\tip daddr @kept4_abcdef0123 return\n", ""),
    ['the masquerade lacks "ip daddr @kept4 return"'],
  ],
  [
    "a rule too many",
    edit("\t\tfib daddr", "\t\tmasquerade\n\t\tfib daddr"),
    ['the masquerade has "masquerade", which nobody needs'],
  ],
  [
    "another range",
    edit("192.168.0.0/16", "192.168.0.0/17"),
    [
      'the masquerade lacks "192.168.0.0/16 in kept4"',
      'the masquerade has "192.168.0.0/17 in kept4", which nobody needs',
    ],
  ],
]);
