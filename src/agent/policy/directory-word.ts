// Policy by the files of a directory, for nodes without Kubernetes: what they say of pods, and the log as the only one to hear of it.

import type { Log } from "../../base/log.ts";
import type { LoopPass } from "../../base/loop.ts";
import { labelsOf } from "../../cni/labels.ts";
import type { Attachment } from "../../ipam/store.ts";
import type { PolicyKeys } from "../../policy/keys.ts";
import { createJudging } from "../cluster/judging.ts";
import { createKeptFaults } from "../cluster/kept-faults.ts";
import { followDirectory } from "./directory.ts";
import type { FollowWord } from "./word.ts";

export interface DirectoryWordDeps {
  directory: string;
  nodeName: string;
  keys: PolicyKeys;
  log: Log;
  signal: AbortSignal;
  onPass: (pass: LoopPass) => void;
}

/** The namespace of a sandbox whose caller names no pod; its name is that of the container. */
const namespaceDefault = "default";

/** The word of the files below `directory`. */
export function wordOfDirectory(deps: DirectoryWordDeps): FollowWord {
  const { log } = deps;
  return (asked) => {
    const { findPod, loop, ...source } = followDirectory({ ...deps, ...asked });
    return {
      source,
      findPod,
      findOwner: () => undefined,
      nameOf: namedByContainer,
      // It counts where no file says what the pod is.
      labelsOf: ({ config }) => labelsOf(config),
      nodeBreakGlass: () => undefined,
      // Nobody is told; the log is.
      judging: createJudging(
        createKeptFaults(log, [], () => {}),
        () => {},
      ).now,
      onBroken: createKeptFaults(log, [], () => {}).now,
      otherPodAt: async () => undefined,
      onDenied: () => {},
      loop,
    };
  };
}

const namedByContainer = ({ containerId }: { containerId: string }): NonNullable<Attachment["pod"]> => ({
  namespace: namespaceDefault,
  name: containerId,
});
