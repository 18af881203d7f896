// Fairlead in a real cluster: what its agents may do there, and how it is taken off the nodes again, with pods on them at first.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { all, until } from "../../lab/waiting.ts";
import type { KubernetesCluster } from "./cluster.ts";
import { manifest } from "./network-fairlead.ts";
import type { ClusterNode } from "./node.ts";
import { deployment } from "./objects.ts";
import { onCluster } from "./suite.ts";

const uninstallManifest = fileURLToPath(new URL("../../deploy/uninstall.yaml", import.meta.url));
const agents = ["--namespace=fairlead-system", "daemonset/fairlead-agent"];
const agentPods = ["--namespace=fairlead-system", "--selector=app.kubernetes.io/component=agent"];

/** Settles when a command of kubectl succeeds; for what a cluster does a little later. */
function untilKubectl({ plane }: KubernetesCluster, what: string, ...args: string[]): Promise<void> {
  return until(() => plane.tryKubectl(args), { what, withinMs: 120_000, everyMs: 500 });
}

/** What a node has of Fairlead, by the eyes of other programs. */
async function ofOurs(node: ClusterNode): Promise<string[]> {
  const [tables, links, routes, files] = await all([
    node.run("nft", ["list", "tables"]),
    node.run("ip", ["-o", "link"]),
    node.run("ip", ["route", "show", "table", "all", "proto", "142"]),
    node.run("find", ["/etc/cni/net.d", "/opt/cni/bin", "/run/fairlead", "/var/lib/fairlead", "!", "-type", "d"]),
  ]);
  return [
    ...tables.split("\n").filter((line) => line.includes("fairlead")),
    ...links.split("\n").filter((line) => /: fl[0-9a-fx]/.test(line)),
    ...routes.split("\n").filter((line) => line !== ""),
    ...files.split("\n").filter((line) => line !== "" && !line.endsWith("/loopback")),
  ];
}

function uninstallTests(cluster: () => KubernetesCluster): void {
  test("agents run with two capabilities, a filter of system calls, and no way to more", async () => {
    const { nodes, kubectl } = cluster();
    await kubectl(["rollout", "status", ...agents, "--timeout=60s"]);
    const pids = (await nodes[0]?.run("pgrep", ["-f", "src/main.ts agent --config /etc/fairlead"]))?.trim().split("\n");
    assert.ok((pids?.length ?? 0) >= nodes.length, "they are seen from any node");
    for (const pid of pids ?? []) {
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      assert.match(status, /^CapEff:\t0000000000201000$/m, "CAP_NET_ADMIN, CAP_SYS_ADMIN");
      assert.match(status, /^CapBnd:\t0000000000201000$/m);
      assert.match(status, /^NoNewPrivs:\t1$/m);
      assert.match(status, /^Seccomp:\t2$/m);
    }
  });

  test("a node with pods is not undone, and says which they are; the agents of others stay", async () => {
    const { kubectl, nodes } = cluster();
    await kubectl(["create", "-f", "-"], { input: JSON.stringify(spread("web")) });
    await kubectl(["rollout", "status", "deployment/web", "--timeout=90s"]);
    await kubectl(["apply", `--filename=${uninstallManifest}`]);
    const words = "{range .items[*]}{.status.initContainerStatuses[0].lastState.terminated.message}{end}";
    const said = async (): Promise<string> => kubectl(["get", "pods", ...agentPods, "-o", `jsonpath=${words}`]);
    await until(
      async () => (/default\/web-\S+, default\/web-\S+; delete those pods/.test(await said()) ? undefined : said()),
      {
        what: "refusal",
        withinMs: 90_000,
        everyMs: 500,
      },
    );
    const served = await all(nodes.map((node) => node.tryRun("test", ["-S", "/run/fairlead/cni.sock"])));
    assert.deepEqual(
      served.map(({ code }) => code).toSorted((a, b) => Number(a) - Number(b)),
      [0, 1],
      "one agent has ended, one goes on",
    );
    for (const node of nodes) await node.run("test", ["-e", "/etc/cni/net.d/10-fairlead.conflist"]);
  });

  test("once its pods are gone each node is undone, and nothing of ours is left", async () => {
    const { kubectl, nodes } = cluster();
    await kubectl(["delete", "deployment/web", "--cascade=foreground", "--timeout=60s"]);
    await kubectl(["rollout", "status", ...agents, "--timeout=180s"], { timeoutMs: 190_000 });
    for (const node of nodes) assert.deepEqual(await ofOurs(node), [], node.name);
  });

  test("applied again it serves again, and deleted it leaves nothing in the API server", async () => {
    const { kubectl, untilNodesReady } = cluster();
    await kubectl(["apply", `--filename=${manifest}`]);
    await kubectl(["rollout", "status", ...agents, "--timeout=60s"]);
    await untilNodesReady();
    await kubectl(["create", "-f", "-"], { input: JSON.stringify(spread("again")) });
    await kubectl(["rollout", "status", "deployment/again", "--timeout=90s"]);
    await kubectl(["delete", `--filename=${manifest}`, "--wait=true", "--timeout=90s"], { timeoutMs: 100_000 });
    await untilKubectl(
      cluster(),
      "namespace gone",
      "wait",
      "--for=delete",
      "namespace/fairlead-system",
      "--timeout=1s",
    );
    const kinds = "crd,clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings";
    const left = (await kubectl(["get", kinds, "-o", "name"])).split("\n").filter((name) => name.includes("fairlead"));
    assert.deepEqual(left, []);
  });
}

/** Four pods, two on each node. */
function spread(name: string): object {
  const constraint = {
    maxSkew: 1,
    topologyKey: "kubernetes.io/hostname",
    whenUnsatisfiable: "DoNotSchedule",
    labelSelector: { matchLabels: { app: name } },
  };
  return deployment(name, 4, { spec: { topologySpreadConstraints: [constraint] } });
}

onCluster("Fairlead, taken off its nodes", { network: "fairlead", proxyMode: "nftables", dns: false }, [
  uninstallTests,
]);
