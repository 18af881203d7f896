// Requests that are answered and not stored: who am I, and a token for a service account.

import { type Answer, jsonAnswer } from "./answer.ts";
import { nodeNameExtra, nodeUidExtra } from "./callers.ts";
import { type Call, readJson } from "./call.ts";
import { keyOf } from "./resource.ts";
import type { ApiState } from "./state.ts";
import { badRequest, conflict, notFound } from "./status.ts";
import { type JsonObject, numberAt, objectAt, textAt, textsAt } from "./value.ts";
import { timestamp } from "./writes.ts";

/** Seconds that a token lives where its asker does not say, and the least that can be asked for. */
const tokenSeconds = 3600;
const tokenSecondsMin = 600;

/** The answer to a review; undefined for any other call. */
export function answerReview(state: ApiState, call: Call): Answer | undefined {
  const { resource, subresource, verb } = call.route;
  if (verb !== "create") return undefined;
  if (resource.plural === "selfsubjectreviews") return whoAmI(call);
  if (resource.plural === "serviceaccounts" && subresource === "token") return serviceAccountToken(state, call);
  return undefined;
}

function whoAmI({ caller }: Call): Answer {
  const extra = Object.fromEntries(Object.entries(caller.extra).map(([key, values]) => [key, [...values]]));
  const userInfo: JsonObject = {
    username: caller.name,
    ...(caller.uid === undefined ? {} : { uid: caller.uid }),
    groups: [...caller.groups],
    ...(Object.keys(extra).length === 0 ? {} : { extra }),
  };
  return jsonAnswer(201, {
    kind: "SelfSubjectReview",
    apiVersion: "authentication.k8s.io/v1",
    metadata: { creationTimestamp: timestamp() },
    status: { userInfo },
  });
}

/** A token bound to a pod carries the pod's node, too (since 1.30). */
function serviceAccountToken({ store, callers, registry }: ApiState, call: Call): Answer {
  const { route } = call;
  const { namespace = "", name = "" } = route;
  const account = store.get("/serviceaccounts", keyOf(namespace, name));
  if (account === undefined) throw notFound(route.resource, name);
  const spec = objectAt(readJson(call), "spec");
  const seconds = numberAt(spec, "expirationSeconds") ?? tokenSeconds;
  if (seconds < tokenSecondsMin)
    throw badRequest(`spec.expirationSeconds: may not specify a duration less than ${tokenSecondsMin / 60} minutes`);
  const bound = objectAt(spec, "boundObjectRef");
  const token = callers.issue({
    name: `system:serviceaccount:${namespace}:${name}`,
    uid: textAt(account.object, "metadata", "uid"),
    groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`],
    extra: boundExtra(),
    expiresInMs: seconds * 1000,
  });
  return jsonAnswer(201, {
    kind: "TokenRequest",
    apiVersion: "authentication.k8s.io/v1",
    metadata: { name, namespace, creationTimestamp: timestamp() },
    spec: { ...spec, audiences: textsAt(spec, "audiences"), expirationSeconds: seconds },
    status: { token, expirationTimestamp: timestamp(Date.now() + seconds * 1000) },
  });

  function boundExtra(): Record<string, string[]> {
    const [kind, bound_, uid] = [textAt(bound, "kind"), textAt(bound, "name") ?? "", textAt(bound, "uid")];
    if (kind === undefined) return {};
    if (kind === "Node") return nodeExtra(bound_, uid);
    if (kind !== "Pod") throw badRequest(`cannot bind token to object of type ${kind}`);
    const pod = store.get("/pods", keyOf(namespace, bound_));
    const named = registry.find("", "v1", "pods") ?? route.resource;
    if (pod === undefined) throw notFound(named, bound_);
    const podUid = textAt(pod.object, "metadata", "uid") ?? "";
    if (uid !== undefined && uid !== podUid)
      throw conflict(named, bound_, `the UID in the bound object reference (${uid}) does not match the UID in record`);
    const node = textAt(pod.object, "spec", "nodeName") ?? "";
    return {
      "authentication.kubernetes.io/pod-name": [bound_],
      "authentication.kubernetes.io/pod-uid": [podUid],
      ...(node === "" ? {} : nodeExtra(node, undefined)),
    };
  }

  function nodeExtra(node: string, uid: string | undefined): Record<string, string[]> {
    const known = store.get("/nodes", node);
    const own = known === undefined ? uid : textAt(known.object, "metadata", "uid");
    return { [nodeNameExtra]: [node], ...(own === undefined ? {} : { [nodeUidExtra]: [own] }) };
  }
}
