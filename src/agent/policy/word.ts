// Whose word says who may talk to whom on this node, and who hears what came of it: a cluster, or a directory of files.

import type { Loop } from "../../base/loop.ts";
import type { Judging } from "../cluster/judging.ts";
import type { NodeFault } from "../cluster/peers.ts";
import type { FlowsDeps } from "../flows/flows.ts";
import type { KeptPolicy } from "./kept.ts";
import type { FindOwner, FindPod, NameOf, PodPolicy } from "./pod-policy.ts";
import type { PolicySource } from "./sources.ts";

export interface PolicyWord {
  source: PolicySource;
  findPod: FindPod;
  findOwner: FindOwner;
  /** Names a sandbox whose caller names no pod; absent where such sandboxes are not judged. */
  nameOf?: NameOf;
  labelsOf?: PodPolicy["labelsOf"];
  /** What is annotated on the Node of break-glass, or was when anybody last knew; undefined where nothing is. */
  nodeBreakGlass: () => string | undefined;
  /** Hears by what the kernel judges, once it does. */
  judging: (now: Judging) => void;
  /** Told after each pass where policy denies nothing. */
  onBroken: (faults: readonly NodeFault[]) => void;
  /** Names pods of other nodes by their addresses. */
  otherPodAt: FlowsDeps["otherPodAt"];
  /** Hears of each packet that was denied. */
  onDenied: FlowsDeps["onDenied"];
  /** Runs beside the others. */
  loop?: Loop;
}

/** Starts to follow; nothing is awaited. `kept` is what an earlier agent has left; `onChange` is called when the word is another one. */
export type FollowWord = (asked: { kept: KeptPolicy | undefined; onChange: () => void }) => PolicyWord;
