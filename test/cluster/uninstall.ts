// Fairlead taken out of a real cluster as its manifests say: nodes and API server hold nothing of it any more. The last test of its cluster.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { until } from "../../lab/waiting.ts";
import type { KubernetesCluster } from "./cluster.ts";
import { manifest } from "./network-fairlead.ts";
import type { ClusterNode } from "./node.ts";
import type { Part } from "./suite.ts";

const uninstallManifest = fileURLToPath(new URL("../../deploy/uninstall.yaml", import.meta.url));
const withinS = 120;
const timeout = { timeoutMs: (withinS + 10) * 1000 };

/** Kinds outside of namespaces that an installation makes. */
const clusterKinds =
  "namespaces,crds,clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,priorityclasses";

/** What kubelet and kube-proxy make: kubelet's chains of iptables are there in every mode. */
const kubernetesTables = /^table (?:ip6?) (?:kube-proxy|filter|mangle|nat)$/;

/** What a node without pods and network holds, beside what Kubernetes makes. */
const bareNode = {
  links: ["eth0", "lo"],
  tables: [],
  rules: ["0: from all lookup local", "32766: from all lookup main", "32767: from all lookup default"],
  files: [],
  plugins: ["loopback"],
};

async function lines(node: ClusterNode, program: string, ...args: string[]): Promise<string[]> {
  const text = await node.run(program, args);
  return text
    .split("\n")
    .flatMap((line) => (line.trim() === "" ? [] : [line.trim().replaceAll(/\s+/g, " ")]))
    .toSorted();
}

async function seenOn(node: ClusterNode): Promise<typeof bareNode | object> {
  const links = await lines(node, "ls", "/sys/class/net");
  const tables = (await lines(node, "nft", "list", "tables")).filter((table) => !kubernetesTables.test(table));
  const folders = ["/etc", "/opt", "/run", "/var/lib"];
  const found = await lines(
    node,
    "find",
    ...folders,
    "-ignore_readdir_race",
    "-xdev",
    "-ipath",
    "*fairlead*",
    "!",
    "-type",
    "d",
  );
  const files = found.filter((file) => !file.startsWith("/run/fairlead-lab/"));
  return {
    links,
    tables,
    rules: await lines(node, "ip", "rule"),
    files,
    plugins: await lines(node, "ls", "/opt/cni/bin"),
  };
}

/** Routes that were there before Fairlead was are those of the wire; the lab gives nodes no others. */
async function podRoutes(node: ClusterNode): Promise<string[]> {
  const all = [...(await lines(node, "ip", "-4", "route")), ...(await lines(node, "ip", "-6", "route"))];
  return all.filter((route) => /^(?:\S+ )?(?:10\.244\.|fd00:10:244:)/.test(route));
}

async function removePods({ kubectl }: KubernetesCluster): Promise<void> {
  await kubectl(["delete", "deployment", "coredns", "--namespace=kube-system"]);
  const onNetwork = async (): Promise<string | undefined> => {
    const path = "{range .items[?(@.spec.hostNetwork!=true)]}{.metadata.namespace}/{.metadata.name} {end}";
    const pods = await kubectl(["get", "pods", "--all-namespaces", `--output=jsonpath=${path}`]);
    return pods.trim() === "" ? undefined : `${pods} are there`;
  };
  await until(onNetwork, { what: "end of all pods", withinMs: withinS * 1000, everyMs: 500 });
}

export const uninstallTests: Part = (cluster) => {
  void test("Fairlead is taken out: no file, link, rule, route or object of it is left", async () => {
    const { kubectl, nodes } = cluster();
    await removePods(cluster());
    await kubectl(["apply", `--filename=${uninstallManifest}`]);
    const rollout = ["rollout", "status", "daemonset/fairlead-agent", "--namespace=fairlead-system"];
    await kubectl([...rollout, `--timeout=${withinS}s`], timeout);
    await kubectl(["delete", `--filename=${manifest}`, "--wait=true", `--timeout=${withinS}s`], timeout);
    const objects = await kubectl(["get", clusterKinds, "--output=name"]);
    assert.deepEqual(
      objects.split("\n").filter((name) => name.includes("fairlead")),
      [],
    );
    for (const node of nodes) {
      assert.deepEqual(await seenOn(node), bareNode, node.name);
      assert.deepEqual(await podRoutes(node), [], `routes of ${node.name}`);
      assert.doesNotMatch(await node.run("nft", ["list", "ruleset"]), /fairlead|CNI-/i, `rules of ${node.name}`);
    }
  });
};
