// Pods as policy sees them: who counts, by which addresses, with which named ports.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../base/assert.ts";
import { pods } from "../kube/core-objects.ts";
import { parseIp } from "../net/ip.ts";
import { policyPodOf } from "./policy-pod.ts";

const ip = present(parseIp("10.4.0.2"), "an address");

function podOf(spec: object, status: object = {}) {
  const metadata = { name: "web", namespace: "shop", uid: "u1", labels: { app: "web" } };
  return pods.parse({ metadata, spec: { nodeName: "n1", ...spec }, status });
}

test("a pod has its labels, its account, its node and its addresses", () => {
  assert.deepEqual(policyPodOf(podOf({ serviceAccountName: "seller" }, { phase: "Running" }), [ip]), {
    namespace: "shop",
    name: "web",
    uid: "u1",
    labels: { app: "web" },
    serviceAccount: "seller",
    node: "n1",
    addresses: [ip],
    ports: [],
  });
});

test("ports count that have a name, of containers and of init containers that keep running", () => {
  const port = (name: string | undefined, containerPort: number, protocol?: string) => ({
    name,
    containerPort,
    protocol,
  });
  const pod = podOf({
    containers: [
      { ports: [{ name: "http", containerPort: 8080 }, { containerPort: 9090 }] },
      { ports: [port("dns", 53, "UDP"), port("signal", 2905, "SCTP")] },
      {},
    ],
    initContainers: [
      { restartPolicy: "Always", ports: [port("proxy", 15_001, "TCP")] },
      { ports: [port("once", 1, "TCP")] },
    ],
  });
  assert.deepEqual(policyPodOf(pod, [])?.ports, [
    { name: "http", protocol: 6, port: 8080 },
    { name: "dns", protocol: 17, port: 53 },
    { name: "signal", protocol: 132, port: 2905 },
    { name: "proxy", protocol: 6, port: 15_001 },
  ]);
});

test("a pod that has ended has no address any more, whatever is published", () => {
  for (const phase of ["Succeeded", "Failed"])
    assert.deepEqual(policyPodOf(podOf({}, { phase }), [ip])?.addresses, [], phase);
  for (const phase of ["Pending", "Running", "Unknown"])
    assert.deepEqual(policyPodOf(podOf({}, { phase }), [ip])?.addresses, [ip], phase);
});

test("a pod on its node's network is none, and one without a node is none yet", () => {
  assert.equal(policyPodOf(podOf({ hostNetwork: true }), [ip]), undefined);
  assert.equal(policyPodOf(podOf({ nodeName: null }), []), undefined);
});

test("pods with the same ports share one list of them, others have none", () => {
  const spec = { containers: [{ ports: [{ name: "http", containerPort: 8080, protocol: "TCP" }] }] };
  const [one, other] = [podOf(spec), podOf(structuredClone(spec))];
  assert.ok(one.spec.ports !== undefined && one.spec.ports === other.spec.ports);
  assert.deepEqual(podOf({ containers: [{ ports: [{ containerPort: 80 }] }] }).spec, { nodeName: "n1" });
});
