// The real kubectl against the lab's API server: the words that people use, with our own manifests.

import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { until } from "../../test/until.ts";
import { startApiServer } from "./server.ts";

const manifests = fileURLToPath(new URL("../../deploy/fairlead.yaml", import.meta.url));
const found = spawnSync("kubectl", ["version", "--client"], { timeout: 20_000 }).status === 0;
const needsKubectl = { skip: found ? false : "kubectl is not installed; make setup-dev installs it" };
const run = promisify(execFile);

type Kubectl = (...args: string[]) => Promise<string>;

async function started(
  t: TestContext,
): Promise<{ kubectl: Kubectl; input: (text: string, ...args: string[]) => Promise<string> }> {
  const server = await startApiServer();
  const home = mkdtempSync(join(tmpdir(), "fairlead-kubectl-"));
  t.after(async () => {
    await server.close();
    rmSync(home, { recursive: true });
  });
  const start = (args: string[]) => {
    const env = { ...process.env, HOME: home, KUBECONFIG: join(home, "none") };
    return run("kubectl", [`--server=${server.url}`, ...args], { env, timeout: 30_000 });
  };
  return {
    kubectl: async (...args) => (await start(args)).stdout,
    input: async (text, ...args) => {
      const running = start(args);
      running.child.stdin?.end(text);
      return (await running).stdout;
    },
  };
}

const node = JSON.stringify({
  apiVersion: "v1",
  kind: "Node",
  metadata: { name: "n1" },
  status: {
    conditions: [{ type: "Ready", status: "True" }],
    addresses: [{ type: "InternalIP", address: "10.0.0.1" }],
  },
});
const network = (spec: object): string =>
  JSON.stringify({ apiVersion: "fairlead.dev/v1alpha1", kind: "NodeNetwork", metadata: { name: "n1" }, spec });

void test("kubectl installs our manifests, twice, and shows our kinds with their columns", needsKubectl, async (t) => {
  const { kubectl, input } = await started(t);
  const first = await kubectl("apply", "-f", manifests);
  assert.match(first, /daemonset\.apps\/fairlead-agent created/);
  const again = await kubectl("apply", "-f", manifests);
  // Of a disruption budget kubectl always sends its selector, whatever the server has.
  const changed = again
    .trim()
    .split("\n")
    .filter((line) => !/ unchanged$|^poddisruptionbudget/.test(line));
  assert.deepEqual(changed, [], "nothing changes twice");
  await kubectl("wait", "--for=condition=Established", "crd/nodenetworks.fairlead.dev", "--timeout=10s");
  await input(network({ nodeUid: "u", agentVersion: "7.7" }), "create", "-f", "-");
  assert.match(await kubectl("get", "nn"), /^NAME +BLOCK +SECOND +READY +FAULT +AGENT +AGE\nn1 +7\.7 +\d+s\n$/);
  await assert.rejects(input(network({ nodeUid: "", agentVersion: "1" }), "create", "-f", "-"), /spec\.nodeUid/);
  assert.match(await kubectl("get", "fairlead"), /n1 +7\.7 /, "the category");
  assert.match(await kubectl("api-resources"), /nodenetworks +nn +fairlead\.dev\/v1alpha1 +false +NodeNetwork/);
});

void test(
  "kubectl creates, labels, annotates, taints, cordons, replaces, patches and deletes",
  needsKubectl,
  async (t) => {
    const { kubectl, input } = await started(t);
    await input(node, "create", "-f", "-");
    assert.match(await kubectl("get", "nodes", "-o", "wide"), /^n1 +Ready +10\.0\.0\.1 /m);
    await kubectl("label", "node", "n1", "role=x");
    await kubectl("annotate", "node", "n1", "a.example/b=c");
    await kubectl("taint", "node", "n1", "k=v:NoSchedule");
    await kubectl("cordon", "n1");
    assert.match(await kubectl("get", "nodes", "-l", "role=x"), /Ready,SchedulingDisabled/);
    const whole = await kubectl("get", "node", "n1", "-o", "json");
    await input(whole.replace('"role": "x"', '"role": "y"'), "replace", "-f", "-");
    await kubectl("patch", "node", "n1", "--type=strategic", "-p", '{"metadata":{"labels":{"more":"z"}}}');
    assert.match(await kubectl("get", "node", "n1", "--show-labels"), /more=z,role=y/);
    await kubectl("wait", "--for=condition=Ready", "node/n1", "--timeout=10s");
    const event = { kind: "Event", apiVersion: "v1", metadata: { name: "e", namespace: "default" }, type: "Normal" };
    const involved = {
      involvedObject: { kind: "Node", name: "n1", uid: "n1" },
      reason: "Tested",
      message: "by kubectl",
    };
    await input(JSON.stringify({ ...event, ...involved }), "create", "-f", "-");
    const described = await kubectl("describe", "node", "n1");
    for (const words of [/Taints: +k=v:NoSchedule/, /Ready +True/, /Tested .*by kubectl/])
      assert.match(described, words);
    await kubectl("delete", "node", "n1", "--timeout=20s");
    await assert.rejects(kubectl("get", "node", "n1"), /NotFound/);
  },
);

void test("kubectl applies and shows the objects that say who may talk to whom", needsKubectl, async (t) => {
  const { kubectl, input } = await started(t);
  await kubectl("apply", "-f", manifests);
  const apply = (object: object, ...args: string[]): Promise<string> =>
    input(JSON.stringify(object), "apply", ...args, "-f", "-");
  await apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } });
  await apply({ apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "web", namespace: "shop" } });
  const netpol = { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name: "web" } };
  const selector = { matchLabels: { app: "web" } };
  const spec = {
    podSelector: selector,
    policyTypes: ["Ingress"],
    ingress: [{ ports: [{ protocol: "TCP", port: 80 }] }],
  };
  await apply({ ...netpol, spec }, "-n", "shop");
  assert.match(await apply({ ...netpol, spec }, "-n", "shop"), /unchanged/);
  assert.match(await kubectl("get", "netpol", "-A"), /NAMESPACE +NAME +POD-SELECTOR +AGE\nshop +web +app=web +\d+s\n/);
  const ours = { apiVersion: "fairlead.dev/v1alpha1" };
  const bindableFrom = { matchLabels: { "kubernetes.io/metadata.name": "shop" } };
  await apply({ ...ours, kind: "SecurityGroup", metadata: { name: "db" }, spec: { bindableFrom, ingress: [] } });
  const binding = { ...ours, kind: "SecurityGroupBinding", metadata: { name: "web", namespace: "shop" } };
  await apply({ ...binding, spec: { podSelector: {}, groups: ["db"] } });
  assert.match(await kubectl("get", "sg"), /^NAME +MODE +MEMBERS +ENFORCING +NODES +AGE\ndb +\d+s\n$/);
  assert.match(await kubectl("get", "sgb", "-n", "shop"), /^NAME +GROUPS +PODS +ACCEPTED +AGE\nweb +\["db"\] +\d+s\n$/);
  assert.match(await kubectl("api-resources"), /membershipslices +ms +fairlead\.dev\/v1alpha1 +false +MembershipSlice/);
});

void test("kubectl deletes a namespace and waits until it is gone", needsKubectl, async (t) => {
  const { kubectl, input } = await started(t);
  const space = { kind: "Namespace", apiVersion: "v1", metadata: { name: "space" } };
  const config = { kind: "ConfigMap", apiVersion: "v1", metadata: { name: "a", namespace: "space" }, data: { a: "b" } };
  await input(JSON.stringify({ kind: "List", apiVersion: "v1", items: [space, config] }), "create", "-f", "-");
  assert.match(await kubectl("get", "cm", "-A"), /space +a +1 /);
  await kubectl("delete", "namespace", "space", "--timeout=20s");
  await until("nothing is left", async () => !(await kubectl("get", "cm", "-A")).includes("space"));
  const refused = kubectl("apply", "--server-side", "-f", manifests);
  await assert.rejects(refused, /this small API server has no server-side apply/);
});
