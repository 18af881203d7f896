// The policy table and the classes of links, one thing changed at a time, and all that the audit says of it.

import { type Case, type Exact, host, hostLinkOf, key, testCases } from "../../test/exact-node.ts";

/** As nft prints it, tabs and all, without the chains of layers, which hang on the maps. */
const table = `table inet fairlead-policy {
	comment "Fairlead policy"
	counter unknown_class {
		packets 7 bytes 420
	}

	set self {
		type ifname . ifname
		elements = { "${host}" . "${host}" }
	}

	map egress_classes {
		type devgroup : verdict
		elements = { 101 : return,
			     102 : goto np_web }
	}

	map ingress_classes {
		type devgroup : verdict
		elements = { 101 : return, 102 : return }
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		ct state vmap { established : accept, related : accept }
		tcp flags != syn / fin,syn,rst,ack goto mid
		iifgroup 101-65535 jump from_pod
		oifgroup 101-65535 jump to_pod
	}

	chain from_pod {
		iifname . oifname @self accept
		iifgroup vmap @egress_classes
		counter name "unknown_class" drop
	}

	chain to_pod {
		oifgroup vmap @ingress_classes
		counter name "unknown_class" drop
	}

	chain mid {
		iifgroup 101-65535 goto refuse
		oifgroup 101-65535 goto refuse
	}

	chain refuse {
		counter name "midstream"
		meta l4proto tcp ct state new limit rate 200/second burst 200 packets counter name "resets" reject with tcp reset
		drop
	}

	chain deny {
		update @log_shares { iifname . oifname limit rate 20/second burst 50 packets } limit rate 100/second burst 100 packets log prefix "deny " group 5 snaplen 128
		iifname . oifname != @log_shares limit rate 20/second burst 20 packets log prefix "deny " group 5 snaplen 128
		drop
	}

	chain audit {
		update @log_shares { iifname . oifname limit rate 20/second burst 50 packets } limit rate 100/second burst 100 packets log prefix "audit " group 5 snaplen 128
		iifname . oifname != @log_shares limit rate 20/second burst 20 packets log prefix "audit " group 5 snaplen 128
		return
	}

	chain np_web {
		counter name "np_web.deny" goto deny
	}
}
`;
const input = `
	chain input {
		type filter hook input priority filter; policy accept;
		ct state vmap { established : accept, related : accept }
		iifgroup 101-65535 jump to_node
	}

	chain to_node {
		icmpv6 type { nd-neighbor-advert, nd-router-solicit, nd-neighbor-solicit } accept
		iifgroup vmap @node_classes
		counter name "unknown_class" drop
	}
}
`;

/** The pod's link in class 102, beside the table after one change of its text. */
function edit(what: string, from: string | RegExp, to: string, differences: string[], group = 102): Case {
  return [
    what,
    (one: Exact) => {
      const text = table.replace(from, to);
      if (from !== "" && text === table) throw new Error(`the table does not hold ${String(from)}`);
      one.seen.ruleset += text;
      hostLinkOf(one).group = group;
    },
    differences,
  ];
}

const link = `link ${host} of ${key}`;
const pair = `"${host}" . "${host}"`;

testCases([
  edit("a link of a class", "", "", []),
  edit("an open link beside the table, whether it is listed or not", /\t\telements = \{ "fl.*\n/, "", [], 100),
  edit("an open link that is listed", "", "", [], 100),
  ["a class without any table", (one) => (hostLinkOf(one).group = 102), [`${link} is in group 102, not 100`]],
  edit("a group below", "", "", [`${link} is in group 99, not 100`], 99),
  edit(
    "a class that no map knows",
    "",
    "",
    [`${link} is in group 103, which egress_classes and ingress_classes do not know`],
    103,
  ),
  edit("a class that one map knows", "101 : return, 102 : return", "101 : return", [
    `${link} is in group 102, which ingress_classes do not know`,
  ]),
  edit("a link that is not listed", /\t\telements = \{ "fl.*\n/, "", [
    `~the policy table does not list ${pair}: that pod does not reach itself through a service`,
  ]),
  edit("a link of nobody that is listed", `{ "${host}`, `{ "fl7" . "fl7",\n\t\t\t     "${host}`, [
    '~the policy table lists "fl7" . "fl7", which is no pod\'s link',
  ]),
  edit("what judges the node", /\}\n$/, input, []),
  edit("half of what judges the node", /\}\n$/, input.replace(/\tchain input[\s\S]*?\t\}\n/, ""), [
    "the policy table lacks the chain input",
  ]),
  edit("a chain lost", /\tchain mid[\s\S]*?\t\}\n/, "", ["the policy table lacks the chain mid"]),
  edit("a chain softened", /"unknown_class" drop(?=\n\t\}\n\n\tchain to_pod)/, '"unknown_class" accept', [
    'the chain from_pod of the policy table is another: iifname . oifname @self accept; iifgroup vmap @egress_classes; counter name "unknown_class" accept',
  ]),
]);
