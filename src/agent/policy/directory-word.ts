// Policy by the files of a directory, for nodes without Kubernetes: what they say of pods, and the log as the only one to hear of it.

import type { Log } from "../../base/log.ts";
import type { LoopPass } from "../../base/loop.ts";
import { labelsOf } from "../../cni/labels.ts";
import type { Attachment } from "../../ipam/store.ts";
import { type Pod, pods } from "../../kube/core-objects.ts";
import type { PolicyKeys } from "../../policy/keys.ts";
import { podOf } from "../attach.ts";
import { createJudging, createKeptFaults } from "../cluster/judging.ts";
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
  const { nodeName, log } = deps;
  return (asked) => {
    const { findPod, loop, ...source } = followDirectory({ ...deps, ...asked });
    return {
      source,
      findPod,
      findOwner: () => undefined,
      nameOf: namedByContainer,
      admit: async (request) => {
        const { pod = namedByContainer(request) } = podOf(request);
        // What the caller says of it counts where no file does.
        return findPod(pod) ?? podLabelled(pod, nodeName, labelsOf(request.config));
      },
      nodeBreakGlass: () => undefined,
      judging: createJudging(log, { onGroups: () => {}, onBypass: () => {} }).now,
      onBroken: createKeptFaults(log, () => {}).now,
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

function podLabelled(
  { namespace, name }: NonNullable<Attachment["pod"]>,
  nodeName: string,
  labels: Record<string, string>,
): Pod {
  return pods.parse({
    metadata: { namespace, name, uid: `${namespace}/${name}`, labels },
    spec: { nodeName },
    status: {},
  });
}
