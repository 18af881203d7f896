// A whole controller: each change that decides about members asks for a pass, long before the next full one is due.

import { test } from "node:test";
import { createTenants, shop } from "../../../test/controller/tenants.ts";
import { createWorld } from "../../../test/controller/world.ts";
import { until } from "../../../test/until.ts";
import { silentLog } from "../../base/log.ts";
import { connect } from "../../kube/connect.ts";
import { namespaces, securityGroupBindings, securityGroups, serviceAccounts } from "../../kube/policy-objects.ts";
import { controllerConfigSchema } from "../config.ts";
import { serve } from "../serve.ts";

const ofWebs = "pods app=web of namespaces kubernetes.io/metadata.name=shop";
const ofTeam = "pods * of namespaces team=sales";
const ofGroup = "members of SecurityGroup sellers";

test("slices follow pods, attachments, namespaces, accounts, policies, groups and bindings as they change", async (t) => {
  const world = await createWorld({ assign: "cluster", ranges: [], serviceRanges: [] });
  const kube = connect({ address: { server: world.server.url }, userAgent: "controller" });
  const stop = new AbortController();
  const lease = { namespace: "default" };
  const config = controllerConfigSchema.parse({ assign: "cluster", ranges: [], lease, status: { port: 0 } });
  const done = serve({ config, kube, log: silentLog(), version: "1", signal: stop.signal });
  t.after(async () => {
    stop.abort();
    await done;
    await kube.close();
    await world.close();
  });
  const tenants = await createTenants(world);
  await tenants.addNode("n1", "10.4.1.0/24");
  let slowestMs = 0;
  const soon = async (what: string, peer: string, ...addresses: string[]): Promise<void> => {
    const startedMs = performance.now();
    await until(what, async () => {
      const slices = await tenants.slices();
      return (
        Object.values(slices[peer] ?? {})
          .flat()
          .toSorted()
          .join() === addresses.join()
      );
    });
    slowestMs = Math.max(slowestMs, performance.now() - startedMs);
  };

  const patch = { type: "merge" } as const;
  const web = { labels: { app: "web" } };
  await tenants.addPod("a", { ...web, node: "n1", addresses: ["10.4.1.2"], serviceAccountName: "seller" });
  await tenants.policy("webs", {
    podSelector: {},
    ingress: [{ from: [{ podSelector: { matchLabels: web.labels } }] }],
  });
  await soon("a policy names the pod", ofWebs, "10.4.1.2");
  await tenants.addPod("b", { node: "n1", addresses: ["10.4.1.3"] });
  await tenants.label("b", web.labels);
  await soon("a pod has another label", ofWebs, "10.4.1.2", "10.4.1.3");
  await tenants.setPhase("b", "Succeeded");
  await soon("a pod has ended", ofWebs, "10.4.1.2");
  await tenants.detach("a");
  await soon("an attachment is gone", ofWebs);

  await tenants.addPod("c", { node: "n1", addresses: ["10.4.1.4"], serviceAccountName: "seller" });
  const team = { namespaceSelector: { matchLabels: { team: "sales" } } };
  await tenants.policy("team", { podSelector: {}, ingress: [{ from: [team] }] });
  await kube.patch(namespaces, { name: shop }, { ...patch, body: { metadata: { labels: { team: "sales" } } } });
  await soon("a namespace has another label", ofTeam, "10.4.1.4");

  await tenants.group("sellers", { ingress: [{ from: [{ securityGroup: "sellers" }] }] });
  await tenants.bind("sellers", { serviceAccountSelector: { matchLabels: { sells: "yes" } }, groups: ["sellers"] });
  await tenants.addServiceAccount("seller", { sells: "no" });
  await soon("nobody is bound", ofGroup);
  const account = { name: "seller", namespace: shop };
  await kube.patch(serviceAccounts, account, { ...patch, body: { metadata: { labels: { sells: "yes" } } } });
  await soon("an account has another label", ofGroup, "10.4.1.4");
  const closed = { spec: { bindableFrom: { matchLabels: { team: "other" } } } };
  await kube.patch(securityGroups, { name: "sellers" }, { ...patch, body: closed });
  await soon("a group may be bound from elsewhere only", ofGroup);
  await kube.patch(
    securityGroups,
    { name: "sellers" },
    { ...patch, body: { spec: { bindableFrom: { matchLabels: null } } } },
  );
  await soon("a group may be bound from everywhere", ofGroup, "10.4.1.4");
  await kube.remove(securityGroupBindings, { name: "sellers", namespace: shop });
  await soon("a binding is gone", ofGroup);
  await world.removeNode("n1");
  await soon("a node is gone", ofTeam);
  t.diagnostic(`the slowest took ${Math.round(slowestMs)} ms`);
});
