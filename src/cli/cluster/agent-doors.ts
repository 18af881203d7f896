// Agents asked from anywhere: a program in each agent's pod carries questions to its socket, through the API server (exec).

import { Fault } from "../../base/fault.ts";
import { type Pod, pods } from "../../kube/core-objects.ts";
import type { AgentDoor } from "../agents/door.ts";
import { createExec, type OpenTalk } from "./exec.ts";
import type { OpenCluster } from "./open.ts";

/** As deploy/fairlead.yaml has them. */
const where = { namespace: "fairlead-system", labelSelector: "app.kubernetes.io/component=agent" };
const program = { namespace: where.namespace, container: "agent", command: ["fairlead", "ask"] };

/**
 * A door to the agent of each node that has one, sorted by node; of `nodes` alone, if given. Nothing is opened before it is asked.
 * @throws Fault as `Kube.list`
 */
export async function agentDoors(
  cluster: OpenCluster,
  nodes?: ReadonlySet<string>,
  open: OpenTalk = createExec(cluster, program),
): Promise<Map<string, AgentDoor>> {
  const agents = (await agentPods(cluster)).filter(({ node }) => nodes === undefined || nodes.has(node));
  const names = [...new Set(agents.map(({ node }) => node))].toSorted();
  return new Map(names.map((node) => [node, doorOf(cluster, node, open)]));
}

/** How often who follows all agents looks for those that have come. */
export const lookEveryMs = 10_000;
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
      const current = (opened ??= find());
      try {
        const { talk } = await current;
        return await talk.ask(path);
      } catch (error) {
        const started = await current.catch(() => undefined); // it is the error at hand
        if (started === undefined || started.talk.isOver()) {
          started?.close();
          if (opened === current) opened = undefined;
        }
        throw error;
      }
    },
    // Whoever asked has heard why it could not be opened.
    close: () => void opened?.then(({ close }) => close()).catch(() => {}),
  };
}
