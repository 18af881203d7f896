// What people write for an end of a way, as kubectl has taught them: NAMESPACE/POD, pod/NAME, node/NAME, an address, a bare name. Pure.

import { Fault } from "../../base/fault.ts";
import { quote } from "../../cni/quote.ts";
import type { Pod } from "../../kube/core-objects.ts";
import { parseIp } from "../../net/ip.ts";
import { type ClusterView, podKey } from "../cluster/view.ts";
import { addressPlace, nodePlace, type Place, podPlace } from "./place.ts";

const words = (text: string): ReadonlySet<string> => new Set(text.split(" "));
const nodeWords = words("node nodes no");
const podWords = words("pod pods po");
const serviceWords = words("service services svc");
const ownerWords = words(
  "deployment deployments deploy replicaset replicasets rs statefulset statefulsets sts daemonset daemonsets ds job jobs cronjob cronjobs cj",
);

/** Names offered where one is not found, or stands for several. */
const offeredMax = 6;

/**
 * The place that `text` names; pods without a namespace are looked for in `namespace`, or everywhere.
 * @throws Fault "not-found" where there is no such thing, "unsupported-value" where it is several, or a thing that has no way of its own
 */
export function placeNamed(text: string, view: ClusterView, namespace?: string): Place {
  const ip = parseIp(text);
  if (ip !== undefined) return addressPlace(ip, view);
  const parts = text.split("/");
  const [first = "", second, third] = parts;
  if (parts.length > 3 || parts.includes("")) throw noName(text);
  if (third !== undefined) {
    if (!podWords.has(first) || second === undefined) throw noName(text);
    return podPlace(onePod(third, view, second), view);
  }
  if (second === undefined) return bareName(first, view, namespace);
  if (/^\d{1,3}$/.test(second) && parseIp(first) !== undefined) {
    throw new Fault("unsupported-value", `${quote(text)} is a network; name one address of it`);
  }
  if (nodeWords.has(first)) return oneNode(second, view);
  if (podWords.has(first)) return podPlace(onePod(second, view, namespace), view);
  if (serviceWords.has(first)) throw view.fromFiles ? fileServiceFault(second) : serviceFault(second, namespace);
  if (ownerWords.has(first)) {
    const same = podsNamed(second, view, namespace).map(keyOfPod);
    if (view.fromFiles && same.length > 0)
      throw new Fault("unsupported-value", `${quote(text)} is ${offer(same, "", "")} in the files; write that`);
    const own = view.pods.filter((pod) => pod.metadata.name.startsWith(`${second}-`)).map(keyOfPod);
    throw new Fault(
      "unsupported-value",
      `${quote(text)} is no place; ${offer(own, "its pods may be", "name one of its pods")}`,
    );
  }
  return podPlace(onePod(second, view, first), view);
}

/** Why a service has no way of its own, and what has. */
export function serviceFault(name: string, namespace = "NAMESPACE"): Fault {
  return new Fault(
    "unsupported-value",
    `service ${quote(name)} is no place: kube-proxy, on the node of whoever calls, turns its address into that of one of its pods; ` +
      `name such a pod: kubectl -n ${namespace} get endpointslices -l kubernetes.io/service-name=${name} -o wide`,
  );
}

function fileServiceFault(name: string): Fault {
  return new Fault("unsupported-value", `service ${quote(name)} is no place; ask for one of its pods`);
}

function noName(text: string): Fault {
  const forms = "NAMESPACE/POD, pod/NAME, node/NAME or an IP address";
  return new Fault("unsupported-value", `${quote(text)} names nothing; write ${forms}`);
}

function bareName(name: string, view: ClusterView, namespace: string | undefined): Place {
  if (view.node(name) === undefined) return podPlace(onePod(name, view, namespace), view);
  const pods = podsNamed(name, view, namespace).map(keyOfPod);
  if (pods.length === 0) return nodePlace(name, view);
  const all = [`node/${name}`, ...pods.map((key) => `pod/${key}`)];
  throw new Fault("unsupported-value", `${quote(name)} is a node and a pod; write one of ${offer(all, "", "")}`);
}

function oneNode(name: string, view: ClusterView): Place {
  if (view.node(name) !== undefined) return nodePlace(name, view);
  const names = view.nodes.map(({ metadata }) => metadata.name);
  throw new Fault(
    "not-found",
    `there is no node ${quote(name)}; ${offer(names, "there are", "the cluster has no nodes")}`,
  );
}

function onePod(name: string, view: ClusterView, namespace: string | undefined): Pod {
  const [pod, ...others] = podsNamed(name, view, namespace);
  if (pod === undefined) throw noPod(name, view, namespace);
  if (others.length === 0) return pod;
  const keys = [pod, ...others].map(keyOfPod);
  throw new Fault(
    "unsupported-value",
    `${keys.length} namespaces have a pod ${quote(name)}; write one of ${offer(keys, "", "")}`,
  );
}

function noPod(name: string, view: ClusterView, namespace: string | undefined): Fault {
  const where = namespace === undefined ? " or node" : "";
  const within = namespace === undefined ? "" : ` in namespace ${quote(namespace)}`;
  const namesakes = podsNamed(name, view, undefined).map(keyOfPod);
  const alike = view.pods.filter((pod) => pod.metadata.name.startsWith(name));
  const here = alike.filter((pod) => pod.metadata.namespace === (namespace ?? pod.metadata.namespace));
  const near = (here.length > 0 ? here : alike).map(keyOfPod);
  const lost =
    namespace !== undefined && !view.pods.some((pod) => pod.metadata.namespace === namespace)
      ? "that namespace has no pods; is its name right?"
      : namespace === undefined && name.includes(".")
        ? "names are not resolved; give an address"
        : view.fromFiles
          ? offer(view.pods.map(keyOfPod), "the files have", "the files have no pods")
          : "kubectl get pods -A lists all pods";
  const hint = namesakes.length > 0 ? offer(namesakes, "there is", "") : offer(near, "names that begin so:", lost);
  return new Fault("not-found", `there is no pod${where} ${quote(name)}${within}; ${hint}`);
}

function podsNamed(name: string, view: ClusterView, namespace: string | undefined): Pod[] {
  if (namespace === undefined) return view.pods.filter((pod) => pod.metadata.name === name);
  const pod = view.pod(namespace, name);
  return pod === undefined ? [] : [pod];
}

const keyOfPod = ({ metadata }: Pod): string => podKey(metadata.namespace ?? "", metadata.name);

/** Some of the names after `before`, or `none`. */
export function offer(names: readonly string[], before: string, none: string): string {
  if (names.length === 0) return none;
  const shown = names.toSorted().slice(0, offeredMax);
  const more = names.length - shown.length;
  return `${before === "" ? "" : `${before} `}${shown.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}
