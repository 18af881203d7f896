// The forms that a scenario's steps can have: how each is written, and what it asks for.

import { Fault } from "../src/base/fault.ts";
import type { Assign } from "./kubernetes.ts";
import { type BlockSize, type Family, nodesMax } from "./layout.ts";
import type { Protocol } from "./probing.ts";

export type Action =
  | {
      do: "cluster";
      nodes: number;
      families: readonly Family[];
      gateway: boolean;
      masquerade?: true;
      blocks: BlockSize;
      /** Who cuts the blocks; absent where there is no Kubernetes. */
      assign?: Assign;
    }
  | { do: "add pod"; pod: string; node: string; hostNetwork: boolean }
  | { do: "add container"; container: string; pod: string }
  | { do: "delete pod"; pod: string }
  /** The pod gets a new sandbox under its old uid, as kubelet does after a sandbox has died. */
  | { do: "restart pod"; pod: string }
  /** DEL once more for the sandbox before the present one, as kubelet does when it is not sure. */
  | { do: "delete again"; pod: string }
  | { do: "check pod"; pod: string }
  | { do: "controller"; change: "start" | "stop" | "kill" }
  | { do: "api server"; change: "hang" | "wake" | "stop" | "start" }
  | { do: "agent"; change: "start" | "stop" | "kill" | "restart"; node: string }
  /** `{v4}` and `{v6}` in a word stand for the addresses of `place`, `{NAME.v4}` for those of another. */
  | { do: "run"; place: string; command: readonly string[] }
  | { do: "expect"; expectation: Expectation; withinMs: number };

export type Expectation =
  | {
      expect: "reach";
      pairs: Pairs;
      protocols: readonly Protocol[];
      families: readonly Family[];
      ownAddress: boolean;
      /** Whose address the target sees, where that is not the caller's own. */
      seenAs?: string;
      not: boolean;
    }
  /** Two containers find each other at the loopback addresses; nobody else finds them there. */
  | { expect: "shared localhost"; containers: readonly [string, string] }
  /** A hostNetwork pod has its node's network, and the plugin was never called for it. */
  | { expect: "untouched"; pod: string }
  /** Each pod's addresses are on its eth0, from its node's block, and no other pod's. */
  | { expect: "own addresses" }
  /** No address of the pod's earlier sandboxes. */
  | { expect: "other addresses"; pod: string }
  /** `{v4}` and `{v6}` in the words stand for the pod's addresses. */
  | { expect: "failing check"; pod: string; words: string }
  /** The pod does not start; nothing of it stays. */
  | { expect: "failing pod"; pod: string; node: string; words: string }
  /** The audit finds nothing too much and nothing missing on any node. */
  | { expect: "exact nodes" }
  /** What agents have published is exactly what runs. */
  | { expect: "known pods" }
  /** Nothing of any pod that ever ran there. */
  | { expect: "nothing left"; node: string };

/** Who is to reach whom. */
export type Pairs = { from: string; to: string } | "pods to pods" | "pods to nodes" | "nodes to their pods";

export interface Form {
  /** As people are told; capital words stand for names, brackets for what may be left out. */
  shape: string;
  pattern: RegExp;
  /** Gives the action, or what is wrong with the words. */
  read: (groups: Readonly<Record<string, string | undefined>>) => Action | string;
}

/** `{v4}`, `{v6}` or `{NAME.v4}`, `{NAME.v6}` in a command or in the words of a failure. */
export const placeholder = /\{(?:([a-z][a-z0-9-]*)\.)?v([46])\}/g;

/** Expectations hold at once unless a step says `within`. */
const withinMaxSeconds = 120;

const name = "[a-z][a-z0-9-]{0,30}";
const reachTail = "(?: by (?<proto>tcp|udp|icmp))?(?: over v(?<family>[46]))?";

export const forms: readonly Form[] = [
  {
    shape: "cluster routes nodes=NUMBER [family=dual|v4|v6] [gateway=yes|no] [blocks=small] [masquerade=yes]",
    pattern:
      /^cluster routes nodes=(?<nodes>\d{1,4})(?: family=(?<family>dual|v4|v6))?(?: gateway=(?<gateway>yes|no))?(?<small> blocks=small)?(?<masquerade> masquerade=yes)?$/,
    read: (words) => readCluster(words),
  },
  {
    shape: "cluster kubernetes nodes=NUMBER [family=dual|v4|v6] [gateway=yes|no] [assign=fairlead|cluster]",
    pattern:
      /^cluster kubernetes nodes=(?<nodes>\d{1,4})(?: family=(?<family>dual|v4|v6))?(?: gateway=(?<gateway>yes|no))?(?: assign=(?<assign>fairlead|cluster))?$/,
    read: ({ assign, ...words }) => readCluster(words, assign === "cluster" ? "cluster" : "fairlead"),
  },
  {
    shape: "pod NAME on NODE [hostNetwork]",
    pattern: pattern("pod (?<pod>NAME) on (?<node>NAME)(?<host> hostNetwork)?"),
    read: ({ pod = "", node = "", host }) => ({ do: "add pod", pod, node, hostNetwork: host !== undefined }),
  },
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
  expectation("A reaches B [by tcp|udp|icmp] [over v4|v6] from NODE's address", {
    words: `(?<from>NAME) reaches (?<to>NAME)${reachTail} from (?<node>NAME)'s address`,
    read: ({ from = "", to = "", node = "", proto, family }) => ({
      ...reach({ from, to }, { proto, family }),
      seenAs: node,
    }),
  }),
  expectation("A reaches B [by tcp|udp|icmp] [over v4|v6] [from A's own address]", {
    words: `(?<from>NAME) reaches (?<to>NAME)${reachTail}(?: from (?<own>NAME)'s own address)?`,
    read: ({ from = "", to = "", proto, family, own }) => {
      if (own !== undefined && own !== from) return `it is ${from} that reaches out, not ${own}`;
      if (own !== undefined && proto === "icmp")
        return "an echo reply does not tell which source address arrived; use tcp or udp";
      return reach({ from, to }, { proto, family, own });
    },
  }),
  expectation("A does not reach B [by tcp|udp|icmp] [over v4|v6]", {
    words: `(?<from>NAME) does not reach (?<to>NAME)${reachTail}`,
    read: ({ from = "", to = "", proto, family }) => ({ ...reach({ from, to }, { proto, family }), not: true }),
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

function readCluster({ nodes, family, gateway, small, masquerade }: ClusterWords, assign?: Assign): Action | string {
  const count = Number(nodes);
  if (count < 1 || count > nodesMax) return `a cluster has 1 to ${nodesMax} nodes`;
  if (masquerade !== undefined && gateway === "no") return "masquerade needs a gateway to the machine outside";
  const families: Family[] = family === "v4" ? [4] : family === "v6" ? [6] : [4, 6];
  return {
    do: "cluster",
    nodes: count,
    families,
    gateway: gateway !== "no",
    blocks: small === undefined ? "usual" : "small",
    ...(masquerade === undefined ? {} : { masquerade: true }),
    ...(assign === undefined ? {} : { assign }),
  };
}

function pattern(words: string): RegExp {
  return new RegExp(`^${words.replaceAll("NAME", name)}$`);
}

interface ExpectationForm {
  words: string;
  read: (groups: Readonly<Record<string, string | undefined>>) => Expectation | string;
}

function expectation(shape: string, { words, read }: ExpectationForm): Form {
  return {
    shape: `[within SECONDSs] expect ${shape}`,
    pattern: pattern(`(?:within (?<seconds>\\d{1,4})s )?expect ${words}`),
    read: (groups) => {
      const seconds = Number(groups["seconds"] ?? 0);
      if (seconds > withinMaxSeconds) return `wait at most ${withinMaxSeconds} s`;
      const found = read(groups);
      return typeof found === "string" ? found : { do: "expect", expectation: found, withinMs: seconds * 1000 };
    },
  };
}

interface ReachWords {
  proto?: string | undefined;
  family?: string | undefined;
  own?: string | undefined;
}

/** Without a word on it, every protocol and both families are tried (those that the cluster has). */
function reach(pairs: Pairs, { proto, family, own }: ReachWords): Extract<Expectation, { expect: "reach" }> {
  return {
    expect: "reach",
    pairs,
    protocols: proto === undefined ? ["tcp", "udp", "icmp"] : [protocol(proto)],
    families: family === undefined ? [4, 6] : [family === "4" ? 4 : 6],
    ownAddress: own !== undefined,
    not: false,
  };
}

function protocol(word: string): Protocol {
  if (word === "tcp" || word === "udp" || word === "icmp") return word;
  throw new Fault("bug", `the pattern let "${word}" through as a protocol`);
}
