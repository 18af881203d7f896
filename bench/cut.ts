// Connections that an edit forbids, among very many that are tracked: until the last packet of one, and until all of them are gone.

import { writeFileSync } from "node:fs";
import { startCluster } from "../lab/cluster.ts";
import { execOk } from "../lab/exec.ts";
import { type NodeLayout, planCluster } from "../lab/layout.ts";
import type { Lab } from "../lab/record.ts";
import { until } from "../lab/waiting.ts";
import { present } from "../src/base/assert.ts";
import { Fault } from "../src/base/fault.ts";
import { inOwnLab } from "./own-lab.ts";
import { callsAtOnce } from "./crowd.ts";
import { changed } from "./enforcement.ts";
import { callers, edit, editedPort, lastingPorts, makeGroups, servers } from "./groups.ts";
import { nowMs, startKnocker, startTrafficServer } from "./traffic.ts";

export interface CutOptions {
  name: string;
  /** Tracked connections, and those of them that an edit forbids; of the others half are pods', and stay allowed. */
  flows: number;
  forbidden: number;
  turns: number;
  signal: AbortSignal;
  onTurn: (turn: number) => void;
}

/** In ms from the write of the edit. */
export interface CutResult {
  /** Until the last packet of a connection that goes on all the time. */
  last: number[];
  /** Until all forbidden ones are gone from the kernel. */
  gone: number[];
}

const goneWithinMs = 30_000;
const fillTimeoutMs = 120_000;
/** Source ports of connections that are put into the kernel. */
const [firstSource, sources] = [1_024, 40_000];

/** @throws Fault "lab-failed" where anything does not work, or a connection went that is allowed */
export async function measureCut(options: CutOptions): Promise<CutResult> {
  const { name, turns, signal, onTurn } = options;
  return inOwnLab(name, async (lab, atEnd) => {
    const plan = planCluster({ lab: name, nodes: 1, families: [4, 6], gateway: true, control: true });
    const cluster = await startCluster(lab, plan, { keepsObjects: false });
    const api = present(cluster.kubernetes, "Kubernetes").connect(callsAtOnce);
    await makeGroups(api);
    for (const pod of [callers, servers]) await cluster.addPod(pod, { node: "node-1", labels: { app: pod } });
    const server = await startTrafficServer(lab, cluster.pod(servers).netns, editedPort);
    atEnd(() => server.end());
    const [from = "", to = ""] = [callers, servers].map((pod) => cluster.pod(pod).addresses[4]);
    const table = createTable(lab, cluster.node("node-1").layout, { from, to });
    const wish = { addresses: [to], port: editedPort, everyMs: 1 };
    const knocker = await startKnocker(lab, cluster.pod(callers).netns, wish);
    atEnd(() => knocker.end());
    await table.fillLasting(options.flows - options.forbidden);
    const result: CutResult = { last: [], gone: [] };
    for (let turn = 0; turn < turns; turn += 1) {
      signal.throwIfAborted();
      await edit(api, true);
      await changed(knocker, "up", [to]);
      await table.fillForbidden(options.forbidden);
      const before = await table.count();
      const closedMs = nowMs();
      await edit(api, false);
      const few = async (): Promise<string | undefined> => {
        const left = (await table.count()) - (before - options.forbidden);
        return left > 0 ? `${left} are left` : undefined;
      };
      await until(few, { what: "removal of forbidden connections", withinMs: goneWithinMs, everyMs: 5, signal });
      result.gone.push(nowMs() - closedMs);
      const [lastMs] = await changed(knocker, "down", [to]);
      result.last.push(present(lastMs, "a last packet") - closedMs);
      await table.mustBeLeft(options.flows - options.forbidden);
      onTurn(turn + 1);
    }
    return result;
  });
}

interface Table {
  /** Connections that stay allowed: half of them from caller to server, half of strangers. */
  fillLasting(count: number): Promise<void>;
  fillForbidden(count: number): Promise<void>;
  /** All connections of the node. */
  count(): Promise<number>;
  /** @throws Fault "lab-failed" where one is left that is forbidden, or one is missing that is not */
  mustBeLeft(lasting: number): Promise<void>;
}

function createTable(lab: Lab, { netns }: NodeLayout, { from, to }: { from: string; to: string }): Table {
  const inNode = { env: lab.env, netns, timeoutMs: fillTimeoutMs };
  /** Many in one call. */
  const insert = async (lines: readonly string[]): Promise<void> => {
    const file = `${lab.directory}/connections`;
    writeFileSync(file, `${lines.join("\n")}\n`, { mode: 0o600 });
    await execOk("conntrack", ["-R", file], inNode);
  };
  const established = "-t 3600 --state ESTABLISHED -u ASSURED,SEEN_REPLY";
  const source = (index: number): number => firstSource + (index % sources);
  const count = async (): Promise<number> => Number(await execOk("conntrack", ["-C"], inNode));
  return {
    count,
    fillLasting: async (flows) => {
      const ofPods = Math.floor(flows / 2);
      const most = sources * lastingPorts.length;
      if (ofPods > most) throw new Fault("lab-failed", `at most ${2 * most} connections can last, not ${flows}`);
      const between = (index: number): string =>
        `-s ${from} -d ${to} --sport ${source(index)} --dport ${lastingPorts[Math.floor(index / sources)]}`;
      const ofStrangers = (index: number): string =>
        `-s 10.${9 + (index >> 16)}.${(index >> 8) & 255}.${index & 255} -d 10.20.0.1 --sport ${source(0)} --dport 443`;
      const line = (_: unknown, index: number): string =>
        `-I -p tcp ${index < ofPods ? between(index) : ofStrangers(index - ofPods)} ${established}`;
      await insert(Array.from({ length: flows }, line));
    },
    fillForbidden: async (flows) => {
      const line = (_: unknown, index: number): string =>
        `-I -p udp -s ${from} -d ${to} -t 3600 -u ASSURED,SEEN_REPLY --sport ${source(index)} --dport ${editedPort}`;
      await insert(Array.from({ length: flows }, line));
    },
    mustBeLeft: async (lasting) => {
      const left = await count();
      const some = await execOk("conntrack", ["-L", "-p", "udp", "-s", from, "-d", to], inNode);
      if (some.trim() !== "") throw new Fault("lab-failed", `forbidden connections are left: ${some.slice(0, 500)}`);
      if (left < lasting) throw new Fault("lab-failed", `${left} of ${lasting} allowed connections are left`);
    },
  };
}
