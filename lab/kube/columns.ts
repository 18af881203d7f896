// The columns that `kubectl get` shows of Kubernetes' own kinds, cut down to what a lab looks at.

import { age } from "./age.ts";
import { podSelectorCell } from "./network-policy.ts";
import type { Column } from "./resource.ts";
import { type JsonObject, at, isObject, listAt, numberAt, objectAt, textAt } from "./value.ts";

const column = (name: string, cell: Column["cell"], priority = 0): Column => ({ name, type: "string", priority, cell });

/** A path's text, or the dash that kubectl prints for nothing. */
const field =
  (...path: string[]): Column["cell"] =>
  (object) =>
    textAt(object, ...path) ?? "<none>";

function nodeStatus(object: JsonObject): string {
  const ready = listAt(object, "status", "conditions").find((each) => textAt(each, "type") === "Ready");
  const words = [textAt(ready, "status") === "True" ? "Ready" : ready === undefined ? "Unknown" : "NotReady"];
  if (at(object, "spec", "unschedulable") === true) words.push("SchedulingDisabled");
  return words.join(",");
}

function nodeAddress(object: JsonObject): string {
  const found = listAt(object, "status", "addresses").find((each) => textAt(each, "type") === "InternalIP");
  return textAt(found, "address") ?? "<none>";
}

const readyContainers = (object: JsonObject): string => {
  const ready = listAt(object, "status", "containerStatuses").filter((each) => at(each, "ready") === true);
  return `${ready.length}/${listAt(object, "spec", "containers").length}`;
};

const podStatus = (object: JsonObject): string =>
  at(object, "metadata", "deletionTimestamp") === undefined ? (textAt(object, "status", "phase") ?? "") : "Terminating";

const replicas =
  (part: string): Column["cell"] =>
  (object) =>
    numberAt(object, "status", part) ?? 0;

const columns: Readonly<Record<string, readonly Column[]>> = {
  Node: [
    column("Status", nodeStatus),
    column("Version", (object) => textAt(object, "status", "nodeInfo", "kubeletVersion") ?? ""),
    column("Internal-IP", nodeAddress, 1),
  ],
  Pod: [
    column("Ready", readyContainers),
    column("Status", podStatus),
    column("IP", field("status", "podIP"), 1),
    column("Node", field("spec", "nodeName"), 1),
  ],
  Namespace: [column("Status", field("status", "phase"))],
  ConfigMap: [column("Data", (object) => Object.keys(objectAt(object, "data")).length)],
  Secret: [column("Type", field("type")), column("Data", (object) => Object.keys(objectAt(object, "data")).length)],
  Service: [column("Type", field("spec", "type")), column("Cluster-IP", field("spec", "clusterIP"))],
  NetworkPolicy: [column("Pod-Selector", podSelectorCell)],
  Lease: [column("Holder", field("spec", "holderIdentity"))],
  Event: [
    column("Last Seen", (object) => age(textAt(object, "lastTimestamp") ?? textAt(object, "firstTimestamp"))),
    column("Type", field("type")),
    column("Reason", field("reason")),
    column("Object", (object) => {
      const involved = at(object, "involvedObject");
      return isObject(involved)
        ? `${(textAt(involved, "kind") ?? "").toLowerCase()}/${textAt(involved, "name") ?? ""}`
        : "";
    }),
    column("Message", (object) => textAt(object, "message") ?? ""),
  ],
  Deployment: [
    column(
      "Ready",
      (object) => `${numberAt(object, "status", "readyReplicas") ?? 0}/${numberAt(object, "spec", "replicas") ?? 1}`,
    ),
    column("Available", replicas("availableReplicas")),
  ],
  DaemonSet: [
    column("Desired", replicas("desiredNumberScheduled")),
    column("Ready", replicas("numberReady")),
    column("Available", replicas("numberAvailable")),
  ],
};

/** Besides name and age; none for kinds that nobody looks at. */
export const builtInColumns = (kind: string): readonly Column[] => columns[kind] ?? [];
