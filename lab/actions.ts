// What a scenario's steps ask for, as values: what lab/forms.ts reads and lab/run.ts and lab/expect.ts do.

import type { Assign } from "./kubernetes.ts";
import type { BlockSize, Family } from "./layout.ts";
import type { LabelChanges, Labels, PodWish } from "./pod-object.ts";
import type { Protocol } from "./probing.ts";

export type Action =
  | {
      do: "cluster";
      nodes: number;
      families: readonly Family[];
      gateway: boolean;
      masquerade?: true;
      /** A machine beyond the gateway that knows the way to pods. */
      outside?: true;
      blocks: BlockSize;
      /** Who cuts the blocks; absent where there is no Kubernetes. */
      assign?: Assign;
    }
  | { do: "add pod"; pod: string; wish: PodWish }
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
  | { do: "add namespace"; namespace: string; labels: Labels }
  | { do: "label"; kind: "pod" | "namespace"; name: string; labels: LabelChanges }
  /** The objects of a file below lab/scenarios/objects. */
  | { do: "objects"; change: "apply" | "delete"; file: string }
  /** A TCP connection over which a byte goes to and fro until the end of the scenario; `port` if not the target's own. */
  | { do: "hold"; pair: NamedPair; port?: number }
  /** `{v4}` and `{v6}` in a word stand for the addresses of `place`, `{NAME.v4}` for those of another. */
  | { do: "run"; place: string; command: readonly string[] }
  | { do: "expect"; expectation: Expectation; withinMs: number };

export type Expectation =
  | {
      expect: "reach";
      pairs: Pairs;
      protocols: readonly Protocol[];
      families: readonly Family[];
      /** The target's own if absent. */
      port?: number;
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
  /** The server refuses an object of the file. */
  | { expect: "failing apply"; file: string; words: string }
  /** Its status says so. */
  | { expect: "enforced group"; group: string; members: number; nodes: number }
  /** Between all pods, nodes and the machine outside: as `fairlead why` says now, or as it said when it was last asked. */
  | { expect: "flows"; as: "why says" | "before" }
  | { expect: "held connection"; pair: NamedPair; is: "going on" }
  /** Its caller is told, within so long after the last step that changed something. */
  | { expect: "held connection"; pair: NamedPair; is: "reset"; withinMs: number }
  /** `fairlead why` has these words in what it tells people of that flow by TCP; the demo shows it. */
  | { expect: "explained flow"; pair: NamedPair; port: number; words: string }
  /** The agent of that node tells of the flow as denied, and by which object. */
  | { expect: "told denial"; node: string; pair: NamedPair; object: string }
  /** Nothing of any pod that ever ran there. */
  | { expect: "nothing left"; node: string };

/** Who is to reach whom. */
export type Pairs = NamedPair | "pods to pods" | "pods to nodes" | "nodes to their pods";

export interface NamedPair {
  from: string;
  to: string;
}
