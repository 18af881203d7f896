// NetworkPolicy in a real cluster: running pods are closed and opened by edits, on both nodes, in every family; nodes keep probing.

import { test } from "node:test";
import { present } from "../../src/base/assert.ts";
import { until } from "../../lab/waiting.ts";
import { clusterDomain } from "./plan.ts";
import { pod } from "./objects.ts";
import {
  inMachineOf,
  inPod,
  named,
  networkPolicy,
  serverPortName,
  serverUrls,
  untilReach,
  withNamedPort,
} from "./reach.ts";
import { makeScene, type Scene } from "./scene.ts";
import type { Part } from "./suite.ts";

/** Resolvers answer in milliseconds; pods that begin before CoreDNS runs have to ask again. */
const lookedUpWithinMs = 60_000;
const namespaceLabel = "kubernetes.io/metadata.name";
/** The name of a port that no pod has. */
const strangePort = "other";

/** A name is looked up from a pod, by UDP and TCP. */
function untilLookedUp(scene: Scene, podName: string): Promise<void> {
  const name = `kubernetes.default.svc.${clusterDomain}`;
  const looked = async (): Promise<string | undefined> => {
    for (const transport of ["+notcp", "+tcp"]) {
      const args = ["+short", "+time=1", "+tries=1", transport, name, "A", name, "AAAA"];
      const told = await scene.run(podName, "dig", args).catch((error: unknown) => String(error));
      if (!/^(10\.96\.0\.1|fd00:10:96::1)$/m.test(told)) return `${transport}: ${JSON.stringify(told)}`;
    }
    return undefined;
  };
  return until(looked, { what: `look-up from ${podName}`, withinMs: lookedUpWithinMs, everyMs: 200 });
}

const ingressOfWeb = (...ingress: object[]): Record<string, unknown> => ({
  podSelector: { matchLabels: { app: "web" } },
  ingress,
});

export const policyTests: Part = (cluster) => {
  void test("default deny closes running pods; selectors of pods and namespaces and a port's name open them; probes go on", async (t) => {
    const scene = await makeScene(cluster(), t, "policy");
    const other = await makeScene(cluster(), t, "policy-other");
    await scene.apply(
      pod("web-1", { node: "node-1", labels: { app: "web" }, ...withNamedPort }),
      pod("web-2", { node: "node-2", labels: { app: "web" }, ...withNamedPort }),
      pod("near", { node: "node-1" }),
      pod("far", { node: "node-2" }),
    );
    await other.apply(pod("guest", { node: "node-2" }));
    await other.untilReady(1);
    const webs = (await scene.untilReady(4)).filter(({ name }) => name.startsWith("web-"));
    const urls = webs.flatMap((web) => serverUrls(scene, web));
    const [near, far, guest] = [inPod(scene, "near"), inPod(scene, "far"), inPod(other, "guest")];
    await untilReach("without policy", urls, { open: [near, far, guest] });

    await scene.apply(networkPolicy("deny", { podSelector: {}, policyTypes: ["Ingress"] }));
    await untilReach("under default deny", urls, { closed: [near, far, guest] });
    // Their probes begin under it, on each node.
    await scene.apply(pod("late-1", { node: "node-1", labels: { app: "late" } }));
    await scene.apply(pod("late-2", { node: "node-2", labels: { app: "late" } }));
    await scene.untilReady(2, "late");
    await scene.untilReady(2, "web");

    const fromNear = { podSelector: { matchLabels: { app: "near" } } };
    await scene.apply(networkPolicy("allow", ingressOfWeb({ from: [fromNear] })));
    await untilReach("by podSelector", urls, { open: [near], closed: [far, guest] });
    const fromOther = { namespaceSelector: { matchLabels: { [namespaceLabel]: other.namespace } } };
    await scene.apply(networkPolicy("allow", ingressOfWeb({ from: [fromOther] })));
    await untilReach("by namespaceSelector", urls, { open: [guest], closed: [near, far] });
    const from = [{ podSelector: { matchLabels: { app: "far" } } }, fromNear];
    const byName = (port: string) => ingressOfWeb({ from, ports: [{ port }] });
    await scene.apply(networkPolicy("allow", byName(serverPortName)));
    await untilReach("by a port's name", urls, { open: [near, far], closed: [guest] });
    await scene.apply(networkPolicy("allow", byName(strangePort)));
    await untilReach("by the name of no port", urls, { closed: [near, far, guest] });
    await scene.untilReady(2, "web");
  });

  void test("a machine outside is in a block, or in what is cut out of it", async (t) => {
    const scene = await makeScene(cluster(), t, "policy-block");
    await scene.apply(pod("web-1", { node: "node-1", labels: { app: "web" } }));
    await scene.apply(pod("web-2", { node: "node-2", labels: { app: "web" } }));
    const urls = (await scene.untilReady(2)).flatMap((web) => serverUrls(scene, web));
    const outside = inMachineOf(cluster(), present(cluster().plan.outside, "outside"));
    const blocks = (last: number): object[] => [
      { ipBlock: { cidr: "172.30.0.0/24", except: [`172.30.0.${last}/32`] } },
      { ipBlock: { cidr: "fd00:30::/64", except: [`fd00:30::${last}/128`] } },
    ];
    await untilReach("without policy", urls, { open: [outside] });
    await scene.apply(networkPolicy("blocks", ingressOfWeb({ from: blocks(100) })));
    await untilReach("cut out", urls, { closed: [outside] });
    await scene.apply(networkPolicy("blocks", ingressOfWeb({ from: blocks(101) })));
    await untilReach("within", urls, { open: [outside] });
    await scene.kubectl(["delete", "networkpolicy", "blocks"]);
    await scene.apply(networkPolicy("nobody", ingressOfWeb()));
    await untilReach("no block at all", urls, { closed: [outside] });
  });

  void test("egress is denied but for names; who is not selected goes on", async (t) => {
    const scene = await makeScene(cluster(), t, "policy-egress");
    await scene.apply(
      ...["node-1", "node-2"].map((node) => pod(`client-${node}`, { node, labels: { app: "client" } })),
      pod("web", { node: "node-1" }),
      pod("free", { node: "node-1" }),
    );
    const urls = serverUrls(scene, named(await scene.untilReady(4), "web"));
    const clients = ["client-node-1", "client-node-2"].map((name) => inPod(scene, name));
    const free = inPod(scene, "free");
    await untilReach("without policy", urls, { open: [...clients, free] });
    const resolvers = {
      namespaceSelector: { matchLabels: { [namespaceLabel]: "kube-system" } },
      podSelector: { matchLabels: { "k8s-app": "kube-dns" } },
    };
    const ports = ["UDP", "TCP"].map((protocol) => ({ protocol, port: 53 }));
    const names = { to: [resolvers], ports };
    const egressOfClients = (...egress: object[]) => ({
      podSelector: { matchLabels: { app: "client" } },
      policyTypes: ["Egress"],
      egress,
    });
    await scene.apply(networkPolicy("egress", egressOfClients(names)));
    await untilReach("egress denied", urls, { open: [free], closed: clients });
    for (const { name } of clients) await untilLookedUp(scene, name);
    await scene.apply(
      networkPolicy("egress", egressOfClients(names, { to: [{ podSelector: { matchLabels: { app: "web" } } }] })),
    );
    await untilReach("egress to the server", urls, { open: [...clients, free] });
  });
};
