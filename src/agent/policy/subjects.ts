// The pods of this node as policy sees them: what the API server says of each, or said last, and the layers that follow.

import type { Held } from "../../ipam/pool.ts";
import { type Attachment, attachmentKey, isWired, type Wired } from "../../ipam/store.ts";
import type { Pod } from "../../kube/core-objects.ts";
import { layersOf } from "../../policy/layers.ts";
import type { Layer, PolicyPod, Subject } from "../../policy/model.ts";
import type { Problem } from "../../policy/problem.ts";
import { policyPodOf } from "../../policy/policy-pod.ts";
import type { ReadObjects } from "../../policy/read-objects.ts";
import type { FindPod } from "./pod-policy.ts";

/** An attachment that policy judges. */
export interface Judged extends Subject {
  key: string;
  attachment: Wired;
  pod: PolicyPod;
  /** Groups that an object binds it to and that it does not get. */
  problems: readonly Problem[];
}

export interface SubjectsDeps {
  nodeName: string;
  findPod: FindPod;
  /** What an earlier agent knew of pods, by attachment. */
  known: ReadonlyMap<string, PolicyPod>;
}

export interface Subjects {
  /** Takes the API server's object of an attachment's pod; without one it is judged as a pod without labels. */
  remember: (attachment: Wired, pod: Pod | undefined) => void;
  /** Every pod that has a link, or is about to get one. What is as before is the same object as before. */
  of: (held: readonly Held[], objects: ReadObjects) => Judged[];
  /** The same for one attachment. */
  one: (attachment: Wired, objects: ReadObjects) => Judged | undefined;
  /** What is known of pods, by attachment. */
  pods: () => ReadonlyMap<string, PolicyPod>;
}

/** A pod keeps what was last known of it until its attachment ends: its object can go before its sandbox does. */
export function createSubjects({ nodeName, findPod, known }: SubjectsDeps): Subjects {
  const pods = new Map(known);
  /** The objects that everything below was made for. */
  let read: ReadObjects | undefined;
  let layers = new Map<string, Layer>();
  let made = new Map<string, Judged>();

  const shared = (layer: Layer): Layer => {
    const same = layers.get(layer.id);
    if (same !== undefined) return same;
    layers.set(layer.id, layer);
    return layer;
  };
  const podOf = (attachment: Wired): PolicyPod | undefined => {
    const { pod } = attachment;
    if (pod === undefined) return undefined;
    const object = findPod(pod);
    const key = attachmentKey(attachment);
    const before = pods.get(key);
    if (object === undefined && before !== undefined) return before;
    const now = policyPod(attachment, object, nodeName);
    const kept = before !== undefined && sameText(before, now) ? before : now;
    pods.set(key, kept);
    return kept;
  };
  const one = (attachment: Wired, objects: ReadObjects): Judged | undefined => {
    if (objects !== read) {
      read = objects;
      layers = new Map();
      made = new Map();
    }
    const pod = podOf(attachment);
    if (pod === undefined) return undefined;
    const key = attachmentKey(attachment);
    const before = made.get(key);
    if (before?.pod === pod && before.attachment === attachment) return before;
    const { egress, ingress, problems } = layersOf(pod, objects);
    const judged = { key, attachment, pod, problems, egress: egress.map(shared), ingress: ingress.map(shared) };
    made.set(key, judged);
    return judged;
  };

  return {
    remember: (attachment, pod) => {
      if (pod !== undefined) pods.set(attachmentKey(attachment), policyPod(attachment, pod, nodeName));
    },
    one,
    of: (held, objects) => {
      const judged = held.flatMap(({ attachment, leaving }) =>
        leaving || !isWired(attachment) ? [] : (one(attachment, objects) ?? []),
      );
      const living = new Set(held.map(({ attachment }) => attachmentKey(attachment)));
      for (const key of pods.keys()) if (!living.has(key)) pods.delete(key);
      for (const key of made.keys()) if (!living.has(key)) made.delete(key);
      return judged;
    },
    pods: () => pods,
  };
}

/** Of a pod that the API server does not know (yet) nothing is known but its names. */
function policyPod({ pod, addresses }: Attachment, object: Pod | undefined, nodeName: string): PolicyPod {
  const known = object && policyPodOf(object, addresses);
  if (known !== undefined) return known;
  const { namespace = "", name = "", uid = "" } = pod ?? {};
  return { namespace, name, uid, labels: {}, serviceAccount: "default", node: nodeName, addresses, ports: [] };
}

const sameText = (a: PolicyPod, b: PolicyPod): boolean => JSON.stringify(a) === JSON.stringify(b);
