// The pods of this node as policy sees them: what the API server says of each, or said last, and the layers that follow.

import { keepNewest } from "../../base/newest.ts";
import type { Held } from "../../ipam/pool.ts";
import { type Attachment, attachmentKey, isWired, type Wired } from "../../ipam/store.ts";
import type { Pod } from "../../kube/core-objects.ts";
import { judgedUnder } from "../../policy/break-glass.ts";
import { layersOf, layersOfUnknown, type PodLayers } from "../../policy/layers.ts";
import type { BreakGlass, Layer, PolicyPod, Subject } from "../../policy/model.ts";
import type { Problem } from "../../policy/problem.ts";
import { guardProblems, isUnguarded } from "../../policy/source-guard.ts";
import { policyPodOf } from "../../policy/policy-pod.ts";
import type { ReadObjects } from "../../policy/read-objects.ts";
import type { FindPod, NameOf } from "./pod-policy.ts";

/** An attachment that policy judges. */
export interface Judged extends Subject {
  key: string;
  attachment: Wired;
  pod: PolicyPod;
  /** False where nothing is known of it but its names: what could be about it closes it, and it is a member of nothing. */
  isKnown: boolean;
  /** It may send from any address. */
  isUnguarded: boolean;
  /** Groups that an object binds it to and that it does not get, and what is wrong with its wish to leave the guard. */
  problems: readonly Problem[];
}

export interface SubjectsDeps {
  nodeName: string;
  findPod: FindPod;
  nameOf?: NameOf | undefined;
  /** What an earlier agent knew of pods, by attachment. */
  known: ReadonlyMap<string, PolicyPod>;
  /** The break-glass that a pod of a namespace is under now: the same object as long as it lasts. Absent: none. */
  brokenNow?: (namespace: string, objects: ReadObjects) => BreakGlass | undefined;
}

export interface Subjects {
  /** Takes the API server's object of an attachment's pod. */
  remember: (attachment: Wired, pod: Pod | undefined) => void;
  /** Every pod that has a link, or is about to get one. What is as before is the same object as before. */
  of: (held: readonly Held[], objects: ReadObjects) => Judged[];
  /** The same for one attachment. */
  one: (attachment: Wired, objects: ReadObjects) => Judged | undefined;
  /** What is known of pods, by attachment. */
  pods: () => ReadonlyMap<string, PolicyPod>;
}

/** Kinds of pods whose layers are kept. */
const templatesMax = 512;

/** Pods that are remembered by their uid after their sandbox has ended: a new sandbox can come while nobody says what the pod is. */
const endedMax = 1024;

/** A pod keeps what was last known of it until its attachment ends: its object can go before its sandbox does. */
export function createSubjects({
  nodeName,
  findPod,
  nameOf,
  known,
  brokenNow = () => undefined,
}: SubjectsDeps): Subjects {
  const pods = new Map(known);
  /** By uid, the oldest first. */
  const ended = new Map<string, PolicyPod>();
  /** The objects that everything below was made for. */
  let read: ReadObjects | undefined;
  let sharedLayers = new Map<string, Layer>();
  /** By what decides them: pods of one template have the same. */
  let layersKnown = new Map<string, PodLayers>();
  let made = new Map<string, Judged>();

  const shared = (layer: Layer): Layer => {
    const same = sharedLayers.get(layer.id);
    if (same !== undefined) return same;
    sharedLayers.set(layer.id, layer);
    return layer;
  };
  const layersOfKnown = (pod: PolicyPod, objects: ReadObjects): PodLayers => {
    const { namespace, labels, serviceAccount, ports } = pod;
    const key = JSON.stringify([namespace, labels, serviceAccount, ports]);
    const layers = layersKnown.get(key) ?? layersOf(pod, objects);
    keepNewest(layersKnown, key, layers, templatesMax);
    return layers;
  };
  const withNames = new WeakMap<Wired, Wired>();
  /** The same object for the same attachment. */
  const named = (attachment: Wired): Wired => {
    if (attachment.pod !== undefined || nameOf === undefined) return attachment;
    const known = withNames.get(attachment) ?? { ...attachment, pod: nameOf(attachment) };
    withNames.set(attachment, known);
    return known;
  };
  /** What was said last of the pod, by whichever of its sandboxes. */
  const saidLast = (key: string, { pod, addresses }: Wired): PolicyPod | undefined => {
    const own = pods.get(key);
    if (own !== undefined || pod?.uid === undefined) return own;
    const { uid } = pod;
    const other = [...pods.values()].find((one) => one.uid === uid) ?? ended.get(uid);
    return other && { ...other, addresses };
  };
  /** Undefined where nothing is known of the pod but its names. */
  const podOf = (attachment: Wired): PolicyPod | undefined => {
    const key = attachmentKey(attachment);
    const object = attachment.pod && findPod(attachment.pod);
    const before = saidLast(key, attachment);
    const now = (object && policyPodOf(object, attachment.addresses)) ?? before ?? labelledPod(attachment, nodeName);
    if (now === undefined) return undefined;
    const kept = before !== undefined && sameText(before, now) ? before : now;
    pods.set(key, kept);
    return kept;
  };
  const one = (given: Wired, objects: ReadObjects): Judged | undefined => {
    const attachment = named(given);
    if (objects !== read) {
      read = objects;
      sharedLayers = new Map();
      layersKnown = new Map();
      made = new Map();
    }
    if (attachment.pod === undefined) return undefined;
    const key = attachmentKey(attachment);
    const before = made.get(key);
    const said = podOf(attachment);
    const isSame = said === undefined ? before?.isKnown === false : before?.pod === said;
    const pod = said ?? namesOnly(attachment, nodeName);
    const glass = brokenNow(pod.namespace, objects);
    const isAsBefore = isSame && before?.attachment === attachment && before.breakGlass === glass;
    if (isAsBefore) return before;
    const { problems, ...layers } =
      said === undefined ? layersOfUnknown(pod.namespace, objects) : layersOfKnown(said, objects);
    const { egress, ingress } = judgedUnder(glass, layers);
    const isKnown = said !== undefined;
    const judged = {
      key,
      attachment,
      pod,
      isKnown,
      isUnguarded: isUnguarded(pod, objects.perPodGuard),
      problems: [...problems, ...guardProblems(pod, objects.perPodGuard)],
      egress: egress.map(shared),
      ingress: ingress.map(shared),
      ...(glass === undefined ? {} : { breakGlass: glass }),
    };
    made.set(key, judged);
    return judged;
  };
  const forget = (key: string): void => {
    const pod = pods.get(key);
    pods.delete(key);
    if (pod === undefined) return;
    keepNewest(ended, pod.uid, pod, endedMax);
  };

  return {
    remember: (attachment, object) => {
      const pod = object && policyPodOf(object, attachment.addresses);
      if (pod !== undefined) pods.set(attachmentKey(attachment), pod);
    },
    one,
    of: (held, objects) => {
      const judged = held.flatMap(({ attachment, leaving }) =>
        leaving || !isWired(attachment) ? [] : (one(attachment, objects) ?? []),
      );
      const living = new Set(held.map(({ attachment }) => attachmentKey(attachment)));
      for (const key of pods.keys()) if (!living.has(key)) forget(key);
      for (const key of made.keys()) if (!living.has(key)) made.delete(key);
      return judged;
    },
    pods: () => pods,
  };
}

/** What its caller has said of it; undefined where it was not asked. */
function labelledPod(attachment: Attachment, node: string): PolicyPod | undefined {
  const { pod, labels } = attachment;
  if (pod === undefined || labels === undefined) return undefined;
  return { ...namesOnly(attachment, node), uid: pod.uid ?? `${pod.namespace}/${pod.name}`, labels };
}

function namesOnly({ pod, addresses }: Attachment, node: string): PolicyPod {
  const { namespace = "", name = "", uid = "" } = pod ?? {};
  return { namespace, name, uid, labels: {}, serviceAccount: "default", node, addresses, ports: [] };
}

const sameText = (a: PolicyPod, b: PolicyPod): boolean => JSON.stringify(a) === JSON.stringify(b);
