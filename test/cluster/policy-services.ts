// Services under policy in a real cluster: pods are judged by the addresses of pods and of the first caller, whatever kube-proxy makes of them.

import { test } from "node:test";
import { present } from "../../src/base/assert.ts";
import { deployment, pod, service } from "./objects.ts";
import { inMachineOf, inPod, networkPolicy, untilReach } from "./reach.ts";
import { makeScene, type Scene, url } from "./scene.ts";
import { serviceRanges } from "./plan.ts";
import type { Part } from "./suite.ts";

async function serviceUrls(scene: Scene, name: string): Promise<string[]> {
  const addresses = (await scene.field(`service/${name}`, "{.spec.clusterIPs[*]}")).split(" ");
  return addresses.map((address) => url(address, 80, "/hostname"));
}

const selecting = (app: string): object => ({ podSelector: { matchLabels: { app } } });

export const policyServiceTests: Part = (cluster) => {
  void test("through a service callers and called are judged by the pods' own addresses", async (t) => {
    const scene = await makeScene(cluster(), t, "policy-service");
    await scene.apply(
      ...["node-1", "node-2"].map((node) => pod(`web-${node}`, { node, labels: { app: "web" } })),
      service("web", "web"),
      pod("friend", { node: "node-1" }),
      pod("stranger", { node: "node-2" }),
    );
    await scene.untilReady(4);
    // Asked several times, so that both backends are.
    const urls = (await serviceUrls(scene, "web")).flatMap((one) => Array.from({ length: 6 }, () => one));
    const [friend, stranger] = [inPod(scene, "friend"), inPod(scene, "stranger")];
    await untilReach("without policy", urls, { open: [friend, stranger] });
    await scene.apply(networkPolicy("web", { ...selecting("web"), ingress: [{ from: [selecting("friend")] }] }));
    await untilReach("ingress of the servers", urls, { open: [friend], closed: [stranger] });
    const services = Object.values(serviceRanges).map((cidr) => ({ ipBlock: { cidr } }));
    const egressOfFriend = (to: readonly object[]) => ({
      ...selecting("friend"),
      policyTypes: ["Egress"],
      egress: [{ to }],
    });
    await scene.apply(networkPolicy("friend", egressOfFriend(services)));
    await untilReach("egress to addresses of services, which are no pods'", urls, { closed: [friend, stranger] });
    await scene.apply(networkPolicy("friend", egressOfFriend([selecting("web")])));
    await untilReach("egress to the servers", urls, { open: [friend], closed: [stranger] });
  });

  void test("a pod that nobody may reach and that may reach nobody reaches itself through its service", async (t) => {
    const scene = await makeScene(cluster(), t, "policy-hairpin");
    await scene.apply(pod("alone"), service("alone", "alone"), pod("other"));
    await scene.untilReady(2);
    const urls = await serviceUrls(scene, "alone");
    const [alone, other] = [inPod(scene, "alone"), inPod(scene, "other")];
    await untilReach("without policy", urls, { open: [alone, other] });
    await scene.apply(networkPolicy("deny", { ...selecting("alone"), policyTypes: ["Ingress", "Egress"] }));
    await untilReach("under default deny", urls, { open: [alone], closed: [other] });
  });

  void test("through a node port with externalTrafficPolicy Local the caller's own address is judged", async (t) => {
    const scene = await makeScene(cluster(), t, "policy-nodeport");
    await scene.apply(
      deployment("web", 1, { node: "node-1" }),
      service("web", "web", { type: "NodePort", externalTrafficPolicy: "Local" }),
    );
    await scene.untilReady(1);
    const port = Number(await scene.field("service/web", "{.spec.ports[0].nodePort}"));
    const { layout } = cluster().node("node-1");
    const { families } = cluster().options;
    const urls = families.map((family) => url(present(layout.addresses[family], "address"), port, "/hostname"));
    const machine = present(cluster().plan.outside, "outside");
    const outside = inMachineOf(cluster(), machine);
    const allow = (last: number) => {
      const from = [{ ipBlock: { cidr: `172.30.0.${last}/32` } }, { ipBlock: { cidr: `fd00:30::${last}/128` } }];
      return networkPolicy("web", { ...selecting("web"), ingress: [{ from }] });
    };
    await untilReach("without policy", urls, { open: [outside] });
    // Another machine, and the node through which it comes.
    for (const last of [101, 11]) {
      await scene.apply(allow(last));
      await untilReach(`only .${last} may`, urls, { closed: [outside] });
      await scene.apply(allow(100));
      await untilReach("it may itself", urls, { open: [outside] });
    }
  });
};
