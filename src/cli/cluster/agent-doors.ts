// Agents asked from anywhere: a program in each agent's pod carries questions to its socket, through the API server (exec).

import { PassThrough, Writable } from "node:stream";
import { z } from "zod";
import { describe, Fault } from "../../base/fault.ts";
import { within } from "../../base/pause.ts";
import { type Pod, pods } from "../../kube/core-objects.ts";
import type { AgentDoor } from "../agents/door.ts";
import { createTalk, type Talk } from "../agents/questions.ts";
import { type ClientLibrary, loadLibrary } from "./library.ts";
import type { OpenCluster } from "./open.ts";

/** As deploy/fairlead.yaml has them. */
const where = { namespace: "fairlead-system", labelSelector: "app.kubernetes.io/component=agent" };
const container = "agent";
const command = ["fairlead", "ask"];

/** From asking the API server until a program runs in the pod. */
const openWaitMs = 15_000;

/** How a program is started in a pod and talked to; the pod is one of an agent. @throws Fault as of `AgentDoor` */
export type OpenTalk = (pod: string, place: string) => Promise<{ talk: Talk; close: () => void }>;

/**
 * A door to the agent of each node that has one, sorted by node; of `nodes` alone, if given. Nothing is opened before it is asked.
 * @throws Fault as `Kube.list`
 */
export async function agentDoors(
  cluster: OpenCluster,
  nodes?: ReadonlySet<string>,
  open: OpenTalk = (pod, place) => openExec(cluster, pod, place),
): Promise<Map<string, AgentDoor>> {
  const agents = (await agentPods(cluster)).filter(({ node }) => nodes === undefined || nodes.has(node));
  const names = [...new Set(agents.map(({ node }) => node))].toSorted();
  return new Map(names.map((node) => [node, doorOf(cluster, node, open)]));
}

/** More agents than this are not asked at once: a program runs in the pod of each. */
const followedMax = 100;

/**
 * The doors of `agentDoors` as a list, for one node or all.
 * @throws Fault "not-found" where no agent runs there, "unsupported-value" where there are more than can be asked
 */
export async function doorsOfCluster(cluster: OpenCluster, node: string | undefined): Promise<AgentDoor[]> {
  const doors = [...(await agentDoors(cluster, node === undefined ? undefined : new Set([node]))).values()];
  if (doors.length === 0) {
    const place = node === undefined ? "this cluster" : `node ${node}`;
    throw new Fault(
      "not-found",
      `no agent runs as a pod of ${where.namespace} on ${place}; kubectl get nodes lists nodes`,
    );
  }
  if (doors.length > followedMax)
    throw new Fault(
      "unsupported-value",
      `${doors.length} agents run here, and at most ${followedMax} are asked at once: name a node by --node`,
    );
  return doors;
}

/** The pods of agents that run. */
async function agentPods({ kube }: OpenCluster, node?: string): Promise<{ name: string; node: string }[]> {
  const fieldSelector = node === undefined ? {} : { fieldSelector: `spec.nodeName=${node}` };
  const { items } = await kube.list(pods, { ...where, ...fieldSelector });
  const runs = ({ metadata, status }: Pod): boolean =>
    status.phase === "Running" && metadata.deletionTimestamp === undefined;
  return items
    .filter(runs)
    .flatMap(({ metadata: { name }, spec: { nodeName } }) =>
      nodeName === undefined ? [] : [{ name, node: nodeName }],
    );
}

function doorOf(cluster: OpenCluster, node: string, open: OpenTalk): AgentDoor {
  let opened: ReturnType<OpenTalk> | undefined;
  const place = `the agent of node ${node}`;
  /** Another pod may be the agent's by now than when it was last asked. */
  const find = async (): ReturnType<OpenTalk> => {
    const [agent] = await agentPods(cluster, node);
    if (agent === undefined) throw new Fault("not-found", `${place}: no pod of an agent runs there`);
    return open(agent.name, place);
  };
  return {
    place,
    ask: async (path) => {
      opened ??= find();
      try {
        const { talk } = await opened;
        return await talk.ask(path);
      } catch (error) {
        const current = await opened.catch(() => undefined);
        if (current === undefined || current.talk.isOver()) {
          current?.close();
          opened = undefined;
        }
        throw error;
      }
    },
    close: () => void opened?.then(({ close }) => close()).catch(() => {}),
  };
}

/** Starts the program in the pod by the official library. */
async function openExec(
  { place: { kubeconfig, context } }: OpenCluster,
  pod: string,
  place: string,
): ReturnType<OpenTalk> {
  const library = await loadLibrary("agents of other nodes are asked by exec into their pods", "run this on the node");
  const input = new PassThrough();
  const talk = createTalk(place, (line) => void input.write(line));
  const opening = new library.Exec(configOf(library, kubeconfig, context)).exec(
    where.namespace,
    pod,
    container,
    command,
    textSink((text) => talk.heard(text)),
    textSink((text) => talk.complained(text)),
    input,
    false,
    ({ status, message }) => talk.ended(status === "Success" ? undefined : message),
  );
  try {
    if (!(await within(openWaitMs, opening))) throw new Error(`nothing came within ${openWaitMs / 1000} s`);
    const socket = await opening;
    socket.addEventListener("close", () => talk.ended("the connection ended"));
    return {
      talk,
      close: () => {
        input.end();
        socket.close();
      },
    };
  } catch (cause) {
    // It may still come.
    void opening.then((socket) => socket.close()).catch(() => {});
    throw notOpened(place, pod, cause);
  }
}

function configOf(
  { KubeConfig }: ClientLibrary,
  file: string,
  context: string,
): InstanceType<ClientLibrary["KubeConfig"]> {
  const config = new KubeConfig();
  config.loadFromFile(file);
  config.setCurrentContext(context);
  const { clusters, users, contexts } = config;
  // The library takes a server without TLS, as kubectl proxy is one, only where nothing is to be verified.
  const open = clusters.map((one) => (one.server.startsWith("http:") ? { ...one, skipTLSVerify: true } : one));
  config.loadFromOptions({ clusters: open, users, contexts, currentContext: context });
  return config;
}

function notOpened(place: string, pod: string, cause: unknown): Fault {
  // An event of the connection, if it is no error.
  const said =
    cause instanceof Error
      ? describe(cause)
      : z.object({ message: z.string() }).catch({ message: "it was refused" }).parse(cause).message;
  if (/\b40[13]\b/.test(said)) {
    return new Fault(
      "kube-refused",
      `${place} cannot be asked: the right to create pods/exec in namespace ${where.namespace} is missing`,
    );
  }
  return new Fault("io-failure", `${place} cannot be asked by exec into pod ${where.namespace}/${pod}: ${said}`);
}

/** Hands on what is written to it as text, whole characters at a time. */
function textSink(heard: (text: string) => void): Writable {
  const decoder = new TextDecoder();
  return new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      heard(decoder.decode(chunk, { stream: true }));
      done();
    },
  });
}
