// `fairlead route A B`: every hop between two places of a cluster, and the object that is responsible for each.

import { isFault } from "../base/fault.ts";
import { z } from "zod";
import { type Ip, parseIp } from "../net/ip.ts";
import { askAgent } from "./agent-client.ts";
import { podsAnswer, readAnswer } from "./answers.ts";
import type { ClusterOutcome } from "./cluster-status.ts";
import type { OpenCluster } from "./cluster/open.ts";
import { readCluster } from "./cluster/read.ts";
import { type ClusterView, viewCluster } from "./cluster/view.ts";
import { placeNamed } from "./route/name.ts";
import { reportRoute, routeText } from "./route/report.ts";
import { mayBeService, readServices, refuseService } from "./route/services.ts";
import type { LocalAgent } from "./route/way.ts";

export interface RouteOptions {
  from: string;
  to: string;
  /** Where pods without a namespace are looked for. */
  namespace?: string;
  /** This machine's agent, if it has one. */
  socket: string;
  output: "table" | "json";
}

/** Gives the text to print, and whether there is a way. @throws Fault where a name names nothing, or the cluster cannot be read */
export async function showRoute(cluster: OpenCluster, options: RouteOptions): Promise<ClusterOutcome> {
  const { from, to, namespace, socket, output } = options;
  const [objects, local] = await Promise.all([readCluster(cluster), askLocal(socket)]);
  const view = viewCluster(objects);
  const [left, right] = [placeNamed(from, view, namespace), placeNamed(to, view, namespace)];
  if (mayBeService(left) || mayBeService(right)) {
    const names = await readServices(cluster);
    for (const place of [left, right]) refuseService(place, names);
  }
  const report = reportRoute(left, right, { view, ...forView(local, view) });
  const text = output === "json" ? JSON.stringify(report, null, 2) : routeText(report);
  return { text, well: report.verdict !== "no-way" };
}

/** An agent of a node that is in another cluster says nothing about this one. */
const forView = (local: LocalAgent | undefined, view: ClusterView): { local?: LocalAgent } =>
  local === undefined || view.node(local.node) === undefined ? {} : { local };

const localStatus = z.object({ node: z.string() });

/** What the agent of this machine has; undefined where there is none, which is the usual case. */
async function askLocal(socket: string): Promise<LocalAgent | undefined> {
  try {
    const [status, answer] = await Promise.all([askAgent(socket, "/status"), askAgent(socket, "/pods")]);
    const links = readAnswer(podsAnswer, answer).flatMap(({ addresses, wire }) =>
      wire === undefined ? [] : addresses.flatMap((text) => pairOf(text, wire.hostLink)),
    );
    return { node: readAnswer(localStatus, status).node, links: new Map(links) };
  } catch (error) {
    if (isFault(error, "not-found", "io-failure")) return undefined;
    throw error;
  }
}

function pairOf(text: string, hostLink: string): [Ip, string][] {
  const ip = parseIp(text);
  return ip === undefined ? [] : [[ip, hostLink]];
}
