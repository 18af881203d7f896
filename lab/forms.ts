// The forms that a scenario's steps can have: how each is written, and what it asks for.

import { Fault } from "../src/base/fault.ts";
import type { Action, Expectation, Pairs } from "./actions.ts";
import { expectation, type Form, pattern } from "./form.ts";
import type { Assign } from "./kubernetes.ts";
import { type Family, nodesMax } from "./layout.ts";
import { policyForms } from "./policy-forms.ts";
import type { Protocol } from "./probing.ts";

const reachTail = "(?: by (?<proto>tcp|udp|icmp)(?: port (?<port>\\d{1,5}))?)?(?: over v(?<family>[46]))?";

export const forms: readonly Form[] = [
  {
    shape: "cluster routes nodes=NUMBER [family=dual|v4|v6] [gateway=yes|no] [blocks=small] [masquerade=yes]",
    pattern:
      /^cluster routes nodes=(?<nodes>\d{1,4})(?: family=(?<family>dual|v4|v6))?(?: gateway=(?<gateway>yes|no))?(?<small> blocks=small)?(?<masquerade> masquerade=yes)?$/,
    read: (words) => readCluster(words),
  },
  {
    shape:
      "cluster kubernetes nodes=NUMBER [family=dual|v4|v6] [gateway=yes|no] [outside=yes] [assign=fairlead|cluster]",
    pattern:
      /^cluster kubernetes nodes=(?<nodes>\d{1,4})(?: family=(?<family>dual|v4|v6))?(?: gateway=(?<gateway>yes|no))?(?<outside> outside=yes)?(?: assign=(?<assign>fairlead|cluster))?$/,
    read: ({ assign, ...words }) => readCluster(words, assign === "cluster" ? "cluster" : "fairlead"),
  },
  ...policyForms,
  {
    shape: "container NAME in pod POD",
    pattern: pattern("container (?<container>NAME) in pod (?<pod>NAME)"),
    read: ({ container = "", pod = "" }) => ({ do: "add container", container, pod }),
  },
  {
    shape: "delete pod POD [again]",
    pattern: pattern("delete pod (?<pod>NAME)(?<again> again)?"),
    read: ({ pod = "", again }) => ({ do: again === undefined ? "delete pod" : "delete again", pod }),
  },
  {
    shape: "restart pod POD",
    pattern: pattern("restart pod (?<pod>NAME)"),
    read: ({ pod = "" }) => ({ do: "restart pod", pod }),
  },
  {
    shape: "check POD",
    pattern: pattern("check (?<pod>NAME)"),
    read: ({ pod = "" }) => ({ do: "check pod", pod }),
  },
  ...(["start", "stop", "kill"] as const).map((change): Form => ({
    shape: `${change} controller`,
    pattern: pattern(`${change} controller`),
    read: () => ({ do: "controller", change }),
  })),
  ...(["hang", "wake", "stop", "start"] as const).map((change): Form => ({
    shape: `${change} api server`,
    pattern: pattern(`${change} api server`),
    read: () => ({ do: "api server", change }),
  })),
  ...(["start", "stop", "kill", "restart"] as const).map((change): Form => ({
    shape: `${change} agent on NODE`,
    pattern: pattern(`${change} agent on (?<node>NAME)`),
    read: ({ node = "" }) => ({ do: "agent", change, node }),
  })),
  {
    shape: "in POD|NODE run PROGRAM WORDS...",
    pattern: pattern("in (?<place>NAME) run (?<command>.+)"),
    read: ({ place = "", command = "" }) =>
      /["'|<>$`\\]/.test(command)
        ? "there is no shell here: plain words only, no quotes"
        : { do: "run", place, command: command.split(" ") },
  },
  expectation("A reaches B [by tcp|udp|icmp [port NUMBER]] [over v4|v6] from NODE's address", {
    words: `(?<from>NAME) reaches (?<to>NAME)${reachTail} from (?<node>NAME)'s address`,
    read: ({ from = "", to = "", node = "", proto, port, family }) => ({
      ...reach({ from, to }, { proto, port, family }),
      seenAs: node,
    }),
  }),
  expectation("A reaches B [by tcp|udp|icmp [port NUMBER]] [over v4|v6] [from A's own address]", {
    words: `(?<from>NAME) reaches (?<to>NAME)${reachTail}(?: from (?<own>NAME)'s own address)?`,
    read: ({ from = "", to = "", proto, port, family, own }) => {
      if (own !== undefined && own !== from) return `it is ${from} that reaches out, not ${own}`;
      if (own !== undefined && proto === "icmp")
        return "an echo reply does not tell which source address arrived; use tcp or udp";
      return reach({ from, to }, { proto, port, family, own });
    },
  }),
  expectation("A does not reach B [by tcp|udp|icmp [port NUMBER]] [over v4|v6]", {
    words: `(?<from>NAME) does not reach (?<to>NAME)${reachTail}`,
    read: ({ from = "", to = "", proto, port, family }) => ({
      ...reach({ from, to }, { proto, port, family }),
      not: true,
    }),
  }),
  expectation("every pod reaches every pod [from its own address]", {
    words: "every pod reaches every pod(?<own> from its own address)?",
    read: ({ own }) => reach("pods to pods", { own }),
  }),
  expectation("every pod reaches every node [from its own address]", {
    words: "every pod reaches every node(?<own> from its own address)?",
    read: ({ own }) => reach("pods to nodes", { own }),
  }),
  expectation("every node reaches its pods", {
    words: "every node reaches its pods",
    read: () => reach("nodes to their pods", { own: "node" }),
  }),
  expectation("A and B share localhost", {
    words: "(?<a>NAME) and (?<b>NAME) share localhost",
    read: ({ a = "", b = "" }) => ({ expect: "shared localhost", containers: [a, b] }),
  }),
  expectation("POD is untouched", {
    words: "(?<pod>NAME) is untouched",
    read: ({ pod = "" }) => ({ expect: "untouched", pod }),
  }),
  expectation("every pod has its own addresses", {
    words: "every pod has its own addresses",
    read: () => ({ expect: "own addresses" }),
  }),
  expectation("POD has other addresses than before", {
    words: "(?<pod>NAME) has other addresses than before",
    read: ({ pod = "" }) => ({ expect: "other addresses", pod }),
  }),
  expectation('check of POD fails with "WORDS"', {
    words: 'check of (?<pod>NAME) fails with "(?<words>[^"]+)"',
    read: ({ pod = "", words = "" }) => ({ expect: "failing check", pod, words }),
  }),
  expectation('pod NAME on NODE fails with "WORDS"', {
    words: 'pod (?<pod>NAME) on (?<node>NAME) fails with "(?<words>[^"]+)"',
    read: ({ pod = "", node = "", words = "" }) => ({ expect: "failing pod", pod, node, words }),
  }),
  expectation("every node holds exactly what its pods need", {
    words: "every node holds exactly what its pods need",
    read: () => ({ expect: "exact nodes" }),
  }),
  expectation("the cluster knows exactly the pods that run", {
    words: "the cluster knows exactly the pods that run",
    read: () => ({ expect: "known pods" }),
  }),
  expectation("nothing is left on NODE", {
    words: "nothing is left on (?<node>NAME)",
    read: ({ node = "" }) => ({ expect: "nothing left", node }),
  }),
];

type ClusterWords = Readonly<Record<string, string | undefined>>;

function readCluster(words: ClusterWords, assign?: Assign): Action | string {
  const { nodes, family, gateway, small, masquerade, outside } = words;
  const count = Number(nodes);
  if (count < 1 || count > nodesMax) return `a cluster has 1 to ${nodesMax} nodes`;
  if ((masquerade ?? outside) !== undefined && gateway === "no") return "the machine outside is behind a gateway";
  const families: Family[] = family === "v4" ? [4] : family === "v6" ? [6] : [4, 6];
  return {
    do: "cluster",
    nodes: count,
    families,
    gateway: gateway !== "no",
    blocks: small === undefined ? "usual" : "small",
    ...(masquerade === undefined ? {} : { masquerade: true }),
    ...(outside === undefined ? {} : { outside: true }),
    ...(assign === undefined ? {} : { assign }),
  };
}

interface ReachWords {
  proto?: string | undefined;
  port?: string | undefined;
  family?: string | undefined;
  own?: string | undefined;
}

/** Without a word on it, every protocol and both families are tried (those that the cluster has). */
function reach(pairs: Pairs, { proto, port, family, own }: ReachWords): Extract<Expectation, { expect: "reach" }> {
  return {
    expect: "reach",
    pairs,
    protocols: proto === undefined ? ["tcp", "udp", "icmp"] : [protocol(proto)],
    families: family === undefined ? [4, 6] : [family === "4" ? 4 : 6],
    ...(port === undefined ? {} : { port: Number(port) }),
    ownAddress: own !== undefined,
    not: false,
  };
}

function protocol(word: string): Protocol {
  if (word === "tcp" || word === "udp" || word === "icmp") return word;
  throw new Fault("bug", `the pattern let "${word}" through as a protocol`);
}
