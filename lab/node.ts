// One Kubernetes node of a lab: its agent's configuration, the agent as a process in the machine, and when it serves.

import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { Fault } from "../src/base/fault.ts";
import { type Daemon, lastLines, startDaemon } from "./daemon.ts";
import type { NodeLayout } from "./layout.ts";
import type { Lab } from "./record.ts";
import { createRuntime, type Runtime } from "./runtime.ts";
import { until } from "./waiting.ts";

/** This project's program, exactly as a node runs it. */
const fairlead = fileURLToPath(new URL("../bin/fairlead", import.meta.url));

/** From the start of an agent until it serves. */
const serveWithinMs = 60_000;
/** What an agent gets to stop in order; Kubernetes gives 30 s. */
const stopWithinMs = 10_000;

export interface LabNode {
  readonly layout: NodeLayout;
  readonly runtime: Runtime;
  readonly agentLog: string;
  /** Starts the agent and waits until it serves; `as` is another `fairlead` than before, from now on. */
  startAgent(as?: string): Promise<void>;
  /** SIGTERM, and waits for its end. @throws Fault "lab-failed" where it ends other than with code 0, or has to be killed. */
  stopAgent(): Promise<void>;
  /** SIGKILL: no chance to tidy up. */
  killAgent(): Promise<void>;
  /** The agent's process. @throws Fault "lab-failed" where it does not run */
  agentPid(): number;
  /** Whether the agent runs, was stopped in order, or ended in any other way. */
  agentState(): "runs" | "stopped" | "killed";
}

/** Makes the node's directory and configuration in a machine that is there already; the agent is not started yet. */
export function createNode(lab: Lab, layout: NodeLayout, program = fairlead): LabNode {
  const { directory, name } = layout;
  for (const part of ["", "/state", "/net.d", "/bin"]) mkdirSync(directory + part, { recursive: true, mode: 0o700 });
  const configFile = `${directory}/agent.yaml`;
  const agentLog = `${directory}/agent.log`;
  writeFileSync(configFile, agentConfig(layout), { mode: 0o600 });
  if (layout.masquerade === true) writeFileSync(masqueradeFile(layout), masqueradeRanges(layout), { mode: 0o600 });
  const runtime = createRuntime(lab, layout);
  let agent: Daemon | undefined;
  let installed = program;
  let stopped = true; // as on a node where none was ever started

  /** What a kubelet waits for: a network configuration in place, and a plugin that says it can serve. */
  async function untilServing(daemon: Daemon): Promise<void> {
    const what = `agent of ${name} (log: ${agentLog})`;
    const serving = async (): Promise<string | undefined> => {
      if (!daemon.alive()) throw new Fault("lab-failed", `${what} ended before it served:\n${lastLines(agentLog, 5)}`);
      return runtime.status();
    };
    await until(serving, { what, withinMs: serveWithinMs });
  }

  function running(): Daemon {
    if (agent === undefined || !agent.alive()) throw new Fault("lab-failed", `the agent of ${name} does not run`);
    return agent;
  }

  return {
    layout,
    runtime,
    agentLog,
    agentPid: () => running().id.pid,
    agentState: () => (agent?.alive() === true ? "runs" : stopped ? "stopped" : "killed"),
    startAgent: async (as = installed) => {
      if (agent?.alive() === true) throw new Fault("lab-failed", `the agent of ${name} runs already`);
      installed = as;
      stopped = false;
      agent = await startDaemon(lab, {
        name: `agent ${name}`,
        netns: layout.netns,
        program: installed,
        args: ["agent", "--config", configFile],
        logFile: agentLog,
      });
      await untilServing(agent);
    },
    stopAgent: async () => {
      const how = await running().end(stopWithinMs);
      if (how !== 0) throw new Fault("lab-failed", `the agent of ${name} did not stop in order but ended with ${how}`);
      stopped = true;
    },
    killAgent: async () => {
      await running().end(0);
    },
  };
}

const masqueradeFile = ({ directory }: NodeLayout): string => `${directory}/ip-masq-agent`;

/** The ranges of pods and machines; outside is not among them. */
function masqueradeRanges({ blocks }: NodeLayout): string {
  const ranges = blocks[4] === undefined ? [] : ["10.0.0.0/8", "172.16.0.0/12"];
  return stringify({ nonMasqueradeCIDRs: [...ranges, ...(blocks[6] === undefined ? [] : ["fd00::/8"])] });
}

function agentConfig(layout: NodeLayout): string {
  const { name, directory, blocks, routes, kubeconfig, masquerade = false } = layout;
  const place =
    kubeconfig === undefined
      ? { addresses: { mode: "routes", blocks: Object.values(blocks) }, routes: [...routes] }
      : { kubernetes: { kubeconfig }, addresses: { mode: "routes" } };
  return stringify({
    node: { name },
    paths: {
      socket: `${directory}/cni.sock`,
      state: `${directory}/state`,
      cniConf: `${directory}/net.d`,
      cniBin: `${directory}/bin`,
      etc: `${directory}/etc`,
    },
    ...(masquerade
      ? { masquerade: { enabled: true, configFile: masqueradeFile(layout), ipv6: blocks[6] !== undefined } }
      : {}),
    ...place,
  });
}
