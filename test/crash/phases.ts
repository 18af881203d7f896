// What an agent can be in the middle of: ADD, DEL, what DEL leaves for later, GC, and a start after whatever the last one left.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { promisify } from "node:util";
import { releasesDirectory } from "../../src/agent/releases.ts";
import { type NodeStatus, statusSocket } from "../../src/agent/status.ts";
import { askAgent } from "../../src/cli/agent-client.ts";
import { coolDefaultMs } from "../../src/ipam/pool.ts";
import { until } from "../until.ts";
import type { Fate, Whose } from "./death.ts";
import type { AgentProcess } from "./process.ts";
import type { Heard } from "./runtime.ts";
import { bystander, type Stage } from "./stage.ts";

const run = promisify(execFile);

/** What becomes of the answer to a call. */
export interface Verdict {
  /** Holds it against what happened to the agent. */
  judge(heard: Heard): void;
  /** A call that failed may have done all, some or nothing: true where the agent has died over it. */
  doubts: boolean;
}

export interface Phase {
  whose?: Whose;
  /** Calls that it makes at least: fewer mean that they are not seen. */
  callsMin: number;
  /** The containers that it is about. */
  containers: readonly string[];
  /** Lets the agent that runs begin it with this fate, whatever comes then. */
  begin(fate: Fate): Promise<AgentProcess>;
  /** Settles when it is over, or the agent dead. */
  end(agent: AgentProcess, verdict: Verdict): Promise<void>;
}

export function addPhase(stage: Stage): Phase {
  return {
    whose: "callers",
    callsMin: 15,
    containers: ["c1"],
    begin: async (fate) => {
      await stage.agent().decide(fate);
      return stage.agent();
    },
    end: async (_agent, { judge, doubts }) => {
      const heard = await stage.tryAdd("c1");
      judge(heard);
      if (heard.code !== 0 && doubts) stage.doubt("c1");
    },
  };
}

export function deletePhase(stage: Stage): Phase {
  return {
    whose: "callers",
    callsMin: 12,
    containers: ["c1"],
    begin: async (fate) => {
      await stage.add("c1");
      await stage.agent().decide(fate);
      return stage.agent();
    },
    end: (_agent, verdict) => deleteAtLast(stage, "c1", verdict),
  };
}

/** Links removed in a batch, connections forgotten, cooled addresses freed. */
export function reaperPhase(stage: Stage): Phase {
  let passesBefore = 0;
  return {
    whose: "reaper",
    callsMin: 11, // fewer where both links go in one batch
    containers: ["c1", "c2"],
    begin: async (fate) => {
      const agent = stage.agent();
      for (const id of ["c1", "c2", "earlier"]) await stage.add(id);
      passesBefore = await reaperPasses(stage);
      await stage.delete("earlier");
      await reaped(stage, agent, passesBefore); // all that had cooled is free; what went just now is left
      await stage.advance(coolDefaultMs);
      passesBefore = await reaperPasses(stage);
      await agent.decide(fate);
      return agent;
    },
    end: async (agent, verdict) => {
      await Promise.all(["c1", "c2"].map((id) => deleteAtLast(stage, id, verdict)));
      await reaped(stage, agent, passesBefore);
    },
  };
}

export function collectPhase(stage: Stage): Phase {
  const containers = ["c1", "c2"];
  return {
    whose: "callers",
    callsMin: 24,
    containers,
    begin: async (fate) => {
      for (const id of containers) await stage.add(id);
      await stage.agent().decide(fate);
      return stage.agent();
    },
    end: async (_agent, { judge, doubts }) => {
      const heard = await stage.collect([bystander]);
      judge(heard);
      if (heard.code === 0) return;
      if (doubts) for (const id of containers) stage.doubt(id);
      else assert.equal((await stage.collect([bystander])).code, 0, "GC again");
    },
  };
}

/** A DEL that fails has done what it could; the next one does the rest. */
async function deleteAtLast(stage: Stage, id: string, { judge }: Verdict): Promise<void> {
  const heard = await stage.tryDelete(id);
  judge(heard);
  if (heard.code !== 0) await stage.delete(id);
}

/** After an agent that ended in the middle of two ADDs, with links yet to be removed, and a DEL while there was none. */
export function startPhase(stage: Stage): Phase {
  return {
    callsMin: 70,
    containers: ["half"],
    begin: async (fate) => {
      const agent = stage.agent();
      for (const id of ["doomed", "doomed-too", "late"]) await stage.add(id);
      // Nobody has used these two, nor knows of them.
      for (const containerId of ["half", "unknown"]) {
        const { code } = await stage.call("ADD", { containerId, netns: stage.netnsOf(containerId).path });
        assert.equal(code, 0);
        stage.forget(containerId);
      }
      await agent.refuseRemovals();
      for (const id of ["doomed", "doomed-too"]) await stage.delete(id);
      await agent.stop();
      // As an ADD leaves them that ends before it is confirmed, and one that ends before it is journalled.
      stage.edit("UPDATE attachment SET state = 'planned' WHERE key = 'fairlead/half/eth0'");
      stage.edit("DELETE FROM attachment WHERE key = 'fairlead/unknown/eth0'");
      const { code } = await stage.tryDelete("late", { FAIRLEAD_CONNECT_MS: "1" });
      assert.equal(code, 0);
      agent.start(fate);
      return agent;
    },
    end: (agent) => started(stage, agent, 2), // the first may have come before the links were doomed
  };
}

/** After an agent whose state file is gone, on a node that has lost what else it had. */
export function lostStatePhase(stage: Stage): Phase {
  return {
    callsMin: 50,
    containers: ["c1"],
    begin: async (fate) => {
      const agent = stage.agent();
      await stage.add("c1");
      // What the reaper has yet to do for earlier pods would be lost with the state.
      await stage.audit("before the state is lost");
      await agent.stop();
      rmSync(stage.config.paths.state, { recursive: true });
      stage.node.run("nft", "delete", "table", "inet", "fairlead");
      for (const block of stage.config.addresses.blocks) stage.node.run("ip", "route", "delete", "unreachable", block);
      stage.node.run("sysctl", "-qw", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0");
      agent.start(fate);
      return agent;
    },
    end: (agent) => started(stage, agent, 1),
  };
}

/** Settles when the reaper has ended a pass after `passesBefore` and nothing waits for it, or the agent is dead. */
function reaped(stage: Stage, agent: AgentProcess, passesBefore: number): Promise<void> {
  return unlessDead(agent, "the reaper has done its work", async () => {
    return !(await anyDoomed(stage)) && (await reaperPasses(stage)) > passesBefore;
  });
}

/** What an agent says that cannot start for an error of kernel or disk. */
const toldFailure = /E[A-Z]{3,}|database or disk is full/;

/** Settles when a start has done all that it does by itself, or could not, or its agent is dead. `passesMin`: of the reaper. */
async function started(stage: Stage, agent: AgentProcess, passesMin: number): Promise<void> {
  const outcome = await agent.outcome();
  if (outcome !== undefined && outcome !== "serving") assert.match(outcome, toldFailure);
  if (outcome !== "serving") return;
  await unlessDead(agent, "the start is over", async () => {
    const { loops } = await statusOf(stage);
    const reaper = loops.find(({ name }) => name === "reaper");
    return (
      loops.every(({ passes, failures }) => passes > 0 && failures === 0) &&
      (reaper?.passes ?? 0) >= passesMin &&
      !(await anyDoomed(stage)) &&
      readdirSync(releasesDirectory(stage.config.paths.socket)).length === 0
    );
  });
}

/** A dead agent does not answer, and what it leaves does not change any more. */
async function unlessDead(agent: AgentProcess, what: string, holds: () => Promise<boolean>): Promise<void> {
  const waited = until(what, holds).then(
    () => undefined,
    (error: unknown) => error,
  );
  const error = await Promise.race([waited, agent.ended.then(() => undefined)]);
  // What asks it fails a little before its end is heard.
  if (error !== undefined && (await agent.lift()) !== undefined) throw error;
}

/** True while a link waits for its removal. */
async function anyDoomed({ node }: Stage): Promise<boolean> {
  const { stdout } = await run("nsenter", [`--net=${node.path}`, "ip", "-N", "-o", "link", "show", "type", "veth"]);
  return / group 9[89] /.test(stdout);
}

async function reaperPasses(stage: Stage): Promise<number> {
  return (await statusOf(stage)).loops.find(({ name }) => name === "reaper")?.passes ?? 0;
}

async function statusOf({ config }: Stage): Promise<NodeStatus> {
  return (await askAgent(statusSocket(config.paths.socket), "/status")) as NodeStatus;
}
