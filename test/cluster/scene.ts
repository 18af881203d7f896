// What one test does in a cluster: a namespace of its own, objects in it, programs in its pods; gone when the test is over.

import { z } from "zod";
import type { TestContext } from "node:test";
import { present } from "../../src/base/assert.ts";
import { Fault } from "../../src/base/fault.ts";
import { cidrFamily, hostCidr } from "../../src/net/cidr.ts";
import { type Ip, parseIp } from "../../src/net/ip.ts";
import type { Family } from "../../lab/layout.ts";
import { readJson } from "../../lab/json.ts";
import { until } from "../../lab/waiting.ts";
import type { KubernetesCluster } from "./cluster.ts";
import type { KubectlOptions } from "./control-plane.ts";
import type { KubeObject } from "./objects.ts";
import { urlHost } from "./plan.ts";

/** A burst of a hundred pods on two cores takes 30 s. */
const readyWithinMs = 120_000;
const goneWithinMs = 120_000;

const podSchema = z.object({
  metadata: z.object({ name: z.string(), uid: z.string(), labels: z.record(z.string(), z.string()).default({}) }),
  spec: z.object({ nodeName: z.string().optional(), hostNetwork: z.boolean().default(false) }),
  status: z.object({
    phase: z.string(),
    podIPs: z.array(z.object({ ip: z.string() })).default([]),
    conditions: z.array(z.object({ type: z.string(), status: z.string() })).default([]),
    containerStatuses: z.array(z.object({ restartCount: z.number(), ready: z.boolean() })).default([]),
  }),
});

export interface SeenPod {
  name: string;
  uid: string;
  node: string;
  phase: string;
  ready: boolean;
  restarts: number;
  addresses: Readonly<Partial<Record<Family, Ip>>>;
}

export interface Scene {
  readonly namespace: string;
  readonly cluster: KubernetesCluster;
  apply(...objects: readonly KubeObject[]): Promise<void>;
  /** kubectl in this namespace. */
  kubectl(args: readonly string[], options?: KubectlOptions): Promise<string>;
  /** The pods with the label app=APP, or all; sorted by name. */
  pods(app?: string): Promise<SeenPod[]>;
  /** Settles when there are `count` such pods and all are Ready; gives them. */
  untilReady(count: number, app?: string, withinMs?: number): Promise<SeenPod[]>;
  /** Settles when there is no such pod any more. */
  untilGone(app?: string): Promise<void>;
  /** Runs a program in a pod, with `input` on its stdin, and gives its stdout. @throws Fault "lab-failed" with what it said */
  run(pod: string, program: string, args: readonly string[], input?: string): Promise<string>;
  /** The field that a JSONPath names. */
  field(object: string, path: string): Promise<string>;
}

/** Makes a namespace for the test `t`, deleted after it without a wait. */
export async function makeScene(cluster: KubernetesCluster, t: TestContext, name: string): Promise<Scene> {
  const namespace = `t-${name}`;
  await cluster.kubectl(["create", "namespace", namespace]);
  t.after(() => cluster.kubectl(["delete", "namespace", namespace, "--wait=false"]));
  await cluster.kubectl(["wait", "--for=create", "serviceaccount/default", "-n", namespace, "--timeout=50s"]);

  const kubectl: Scene["kubectl"] = (args, options = {}) => cluster.kubectl(["-n", namespace, ...args], options);

  async function pods(app?: string): Promise<SeenPod[]> {
    const selector = app === undefined ? [] : [`--selector=app=${app}`];
    const text = await kubectl(["get", "pods", "--output=json", ...selector]);
    const { items } = readJson(z.object({ items: z.array(podSchema) }), text, `pods of ${namespace}`);
    return items.map(seenPod).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  return {
    namespace,
    cluster,
    kubectl,
    pods,
    apply: async (...objects) => {
      const list = { apiVersion: "v1", kind: "List", metadata: { name: "objects" }, items: objects };
      await cluster.kubectl(["-n", namespace, "apply", "-f", "-"], { input: JSON.stringify(list) });
    },
    untilReady: async (count, app, withinMs = readyWithinMs) => {
      let seen: SeenPod[] = [];
      const complete = async (): Promise<string | undefined> => {
        seen = await pods(app);
        const waiting = seen.filter(({ ready }) => !ready);
        if (seen.length === count && waiting.length === 0) return undefined;
        return `${seen.length - waiting.length} of ${seen.length} pods are Ready, not ${count}; first: ${JSON.stringify(waiting[0])}`;
      };
      try {
        await until(complete, { what: `Ready pods of ${namespace}`, withinMs, everyMs: 250 });
      } catch (cause) {
        throw new Fault("lab-failed", await events(cluster, namespace), { cause });
      }
      return seen;
    },
    untilGone: (app) =>
      until(async () => (await pods(app)).map(({ name }) => `${name} is there`)[0], {
        what: `end of pods of ${namespace}`,
        withinMs: goneWithinMs,
        everyMs: 250,
      }),
    run: (podName, program, args, input) => {
      const options = input === undefined ? [] : ["--stdin"];
      return kubectl(["exec", ...options, podName, "--", program, ...args], input === undefined ? {} : { input });
    },
    field: async (object, path) => kubectl(["get", object, `--output=jsonpath=${path}`]),
  };
}

function seenPod({ metadata, spec, status }: z.output<typeof podSchema>): SeenPod {
  const addresses = Object.fromEntries(
    status.podIPs.map(({ ip }) => {
      const address = present(parseIp(ip), ip);
      return [cidrFamily(hostCidr(address)), address];
    }),
  );
  return {
    name: metadata.name,
    uid: metadata.uid,
    node: spec.nodeName ?? "",
    phase: status.phase,
    ready: status.conditions.some(({ type, status: value }) => type === "Ready" && value === "True"),
    restarts: status.containerStatuses.reduce((sum, { restartCount }) => sum + restartCount, 0),
    addresses,
  };
}

/** What the cluster itself said last about a namespace: why something did not become ready. */
async function events(cluster: KubernetesCluster, namespace: string): Promise<string> {
  const text = await cluster.kubectl(["-n", namespace, "get", "events", "--sort-by=.lastTimestamp", "--output=wide"]);
  const linesMax = 8;
  const lines = text.split("\n").filter((line) => line.includes("Warning"));
  return `events of ${namespace}:\n${lines.slice(-linesMax).join("\n")}`;
}

/** A URL of a server that may have an address of either family, or a name. */
export function url(host: string, port: number, path: string): string {
  return `http://${urlHost(host)}:${port}${path}`;
}

/** The answers that a pod got by HTTP, in the order of `urls`, each asked once. @throws Fault "lab-failed" where one does not come within 5 s */
export async function askFromPod(scene: Scene, podName: string, urls: readonly string[]): Promise<string[]> {
  return answers(await scene.run(podName, "curl", curlArguments(urls)), urls);
}

/** Each question on a connection of its own. `--globoff`: the brackets of IPv6 addresses are no patterns. */
export function curlArguments(urls: readonly string[]): string[] {
  const options = "--globoff --silent --show-error --fail --fail-early --max-time 5 --write-out \\n".split(" ");
  return [...options, "--header", "Connection: close", ...urls];
}

/** The answers to `urls` that curl printed, one a line. */
export function answers(text: string, urls: readonly string[]): string[] {
  const lines = text.split("\n").slice(0, -1);
  if (lines.length !== urls.length)
    throw new Fault("lab-failed", `${lines.length} answers to ${urls.length} questions`);
  return lines;
}

/** The address in "10.244.0.3:37718" or "[fd00::3]:59638", as the test server tells its caller's. */
export function addressOf(clientip: string): string {
  return clientip.slice(0, clientip.lastIndexOf(":")).replaceAll(/[[\]]/g, "");
}
