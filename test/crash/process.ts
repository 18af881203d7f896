// Agents in processes of their own, as a test sees them: started, told where to end, waited for.

import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { within } from "../../src/base/pause.ts";
import type { AgentEvent, AgentSpec, Command } from "./agent.ts";
import type { Fate } from "./death.ts";

const program = fileURLToPath(new URL("agent.ts", import.meta.url));
/** Compiled code of earlier runs: a start is a third shorter with it. */
const compileCache = fileURLToPath(new URL("../../build/compile-cache", import.meta.url));

/** Longest that an answer of the process, or its end, may take. */
const answerWaitMs = 20_000;

/** A call that a fate names; see `Mortal.takenOver`. */
export type Reached = Pick<AgentEvent & { event: "reached" }, "name" | "takenOver">;

/** How the process ended. */
export interface Ending {
  signal: NodeJS.Signals | null;
  code: number | null;
  /** The call at which it ended, if its fate named one. */
  reached?: Reached;
  /** Why it could not serve. */
  error?: string;
}

export interface AgentProcess {
  pid: number;
  /** "serving" once it does; why it cannot, or undefined where the process ended before. */
  outcome(): Promise<string | undefined>;
  /** Counts its calls from here on, one of which may be the last. */
  decide(fate?: Fate): Promise<void>;
  /** Lifts that fate, and gives the calls until then; undefined where it has ended. */
  lift(): Promise<{ calls: number; takenOver: boolean } | undefined>;
  /** The call that its fate names, once it is reached; undefined where the process ended without. */
  reached(): Promise<Reached | undefined>;
  /** Lets a call go on that is held. */
  release(): void;
  refuseRemovals(): Promise<void>;
  /** Its clock for cooling goes on `ms` later. */
  advance(ms: number): Promise<void>;
  /** Its wall clock jumps by `ms`, back where that is negative. */
  jump(ms: number): Promise<void>;
  /** Ends the agent in order; the process stays. */
  stop(): Promise<void>;
  /** Starts another agent in the same process. */
  start(fate?: Fate): void;
  signal(name: NodeJS.Signals): void;
  ended: Promise<Ending>;
}

export interface ProcessOptions {
  /** Stands before the program: what it is run by. */
  runner?: readonly string[];
}

/** Starts one. Its maker ends it; it ends by itself too when its maker does. */
export function startProcess(spec: AgentSpec, options: ProcessOptions = {}): AgentProcess {
  const [file, ...args] = [...(options.runner ?? []), process.execPath, ...nodeFlags, program, JSON.stringify(spec)];
  const child = spawn(file, args, {
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", NODE_COMPILE_CACHE: compileCache },
    stdio: ["pipe", "pipe", "inherit", "pipe"],
  });
  const heard = hear(child);
  return agentOf(child, heard, endingOf(child, heard));
}

/** Young objects are not looked at while a start makes them. */
const nodeFlags = ["--min-semi-space-size=16"];

interface Heard {
  events: AgentEvent[];
  /** Called with each event, and without one at the end. */
  listeners: Set<() => void>;
}

function hear(child: ChildProcess): Heard {
  const heard: Heard = { events: [], listeners: new Set() };
  const { stdout } = child;
  if (stdout === null) throw new Error("stdout is a pipe");
  createInterface({ input: stdout }).on("line", (line) => {
    heard.events.push(JSON.parse(line) as AgentEvent);
    for (const listener of heard.listeners) listener();
  });
  return heard;
}

/** Settles when the process is gone and all it said is heard. */
function endingOf(child: ChildProcess, { events, listeners }: Heard): Promise<Ending> {
  return new Promise((done, failed) => {
    child.once("error", failed);
    child.once("close", (code, signal) => {
      const reached = events.findLast(({ event }) => event === "reached");
      const error = events.findLast(({ event }) => event === "failed");
      done({
        signal,
        code,
        ...(reached?.event === "reached" ? { reached } : {}),
        ...(error?.event === "failed" ? { error: error.error } : {}),
      });
      for (const listener of listeners) listener();
    });
  });
}

function agentOf(child: ChildProcess, { events, listeners }: Heard, ended: Promise<Ending>): AgentProcess {
  let gone = false;
  ended.then(
    () => (gone = true),
    () => (gone = true),
  );

  /** The next event of one of these names, which is taken; undefined where the process ends without. */
  async function next<E extends AgentEvent["event"]>(...names: E[]): Promise<(AgentEvent & { event: E }) | undefined> {
    const wanted = new Set<string>(names);
    const take = (): (AgentEvent & { event: E }) | undefined => {
      const index = events.findIndex(({ event }) => wanted.has(event));
      return index < 0 ? undefined : (events.splice(index, 1)[0] as AgentEvent & { event: E });
    };
    let taken = take();
    const arrived = new Promise<void>((done) => {
      const look = (): void => {
        taken ??= take();
        if (taken === undefined && !gone) return;
        listeners.delete(look);
        done();
      };
      listeners.add(look);
      look();
    });
    if (!(await within(answerWaitMs, Promise.race([arrived, ended]))))
      throw new Error(`agent ${child.pid}: no ${names.join(" or ")} within ${answerWaitMs} ms`);
    return taken ?? take();
  }

  const tell = (command: Command): void => void child.stdin?.write(`${JSON.stringify(command)}\n`);
  child.stdin?.on("error", () => {}); // it has ended: whoever waits for an answer hears so

  return {
    pid: child.pid ?? 0,
    outcome: async () => {
      const event = await next("serving", "failed");
      return event?.event === "failed" ? event.error : event?.event;
    },
    decide: async (fate) => {
      tell({ do: "decide", ...(fate === undefined ? {} : { fate }) });
      await next("decided");
    },
    lift: async () => {
      tell({ do: "lift" });
      return next("calls");
    },
    reached: () => next("reached"),
    release: () => {
      const hold = child.stdio[3];
      if (hold !== null && hold !== undefined && "write" in hold) hold.write("x");
    },
    refuseRemovals: async () => {
      tell({ do: "refuse-removals" });
      await next("decided");
    },
    advance: async (ms) => {
      tell({ do: "advance", ms });
      await next("decided");
    },
    jump: async (ms) => {
      tell({ do: "jump", ms });
      await next("decided");
    },
    stop: async () => {
      tell({ do: "stop" });
      await next("stopped");
    },
    start: (fate) => tell({ do: "start", ...(fate === undefined ? {} : { fate }) }),
    signal: (name) => void child.kill(name),
    ended,
  };
}
