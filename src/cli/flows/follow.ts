// Following agents: what each tells after its first answer, over restarts; and agents that come later.

import { describe, isFault } from "../../base/fault.ts";
import { pause } from "../../base/pause.ts";
import type { AgentDoor } from "../agents/door.ts";
import { areSeveral, ask, type FlowsOptions, type Heard, named, ofNode } from "./asking.ts";
import { flowsLines, type TellingAnswer } from "./report.ts";

/** How often an agent is asked for what is new; with more agents more rarely, by so much for each. */
const askEveryMs = 500;
const askLaterByMs = 10;
/** How long an agent may be away, as it is during its upgrade, before following it ends. */
const awayMaxMs = 60_000;

/** Who is followed. */
interface Following {
  options: FlowsOptions;
  /** By place. */
  underWay: Map<string, Promise<void>>;
  /** How far agents have told, by place, also those that were given up: what was told is not told again. */
  told: Map<string, Pick<TellingAnswer, "run" | "newest">>;
  /** Aborted when all ends: interrupted, or nobody is left; the reason is why the last one ended. */
  over: AbortController;
}

/**
 * Prints what comes after the first answers of `heard` until `signal` aborts; with `later`, also what agents tell that come, or come back
 * after they were given up.
 * @throws why following the last one ended, where nobody is left to follow; what is no Fault
 */
export async function followAll(heard: readonly Heard[], options: FlowsOptions): Promise<void> {
  const { signal, later } = options;
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  const following: Following = { options: { ...options, signal: either }, underWay: new Map(), told: new Map(), over };
  for (const one of heard) follow(one, following);
  if (later === undefined) await Promise.all(following.underWay.values());
  else {
    const look = createLook(later.doors, following);
    for (await pause(later.everyMs, either); !either.aborted; await pause(later.everyMs, either)) await look();
  }
  if (!signal.aborted) throw over.signal.reason;
}

/** Begins to follow an agent. */
function follow(one: Heard, { options, underWay, told, over }: Following): void {
  const { door, first } = one;
  told.set(door.place, first);
  const toItsEnd = async (): Promise<void> => {
    let end: unknown;
    try {
      await followFrom(one, options, told);
    } catch (error) {
      end = error;
      if (!isFault(error)) over.abort(error);
      else if (areSeveral(options)) options.warn(`${door.place} is asked no more: ${describe(error)}`);
    }
    if (!options.doors.includes(door)) door.close(); // the others are closed by who opened them
    underWay.delete(door.place);
    if (underWay.size === 0) over.abort(end);
  };
  underWay.set(door.place, toItsEnd());
}

/** Prints what comes after what an agent said first, until `signal` aborts. An agent that is away for a while is waited for. */
async function followFrom({ door, first }: Heard, options: FlowsOptions, told: Following["told"]): Promise<void> {
  const { signal, warn, doors } = options;
  const everyMs = askEveryMs + askLaterByMs * (doors.length - 1);
  let { run, newest } = first;
  let awaySinceMs: number | undefined;
  for (await pause(everyMs, signal); !signal.aborted; await pause(everyMs, signal)) {
    try {
      const answer = await ask(door, options, newest);
      awaySinceMs = undefined;
      if (answer.run === run) printMore(answer, options);
      else warn(named("the agent has started anew", first, options));
      // Numbers of another run say nothing: the next question is for all of it.
      newest = answer.run === run ? answer.newest : 0;
      run = answer.run;
      told.set(door.place, { run, newest });
    } catch (error) {
      if (!isFault(error, "not-found", "io-failure", "kube-unreachable", "kube-busy")) throw error;
      if (awaySinceMs === undefined) warn(`${error.message}; waiting for it`);
      awaySinceMs ??= performance.now();
      if (performance.now() - awaySinceMs > awayMaxMs) throw error;
    }
  }
}

/**
 * Gives a function that follows whom it finds that is not followed: from the first record on, or where it was given up. What goes wrong is
 * warned of, once until it goes well again; the next look tries anew.
 */
function createLook(find: () => Promise<readonly AgentDoor[]>, following: Following): () => Promise<void> {
  const { options, underWay, told } = following;
  const unwell = new Set<string>();
  const warnOnce = (of: string, text: string): void => {
    if (!unwell.has(of)) options.warn(text);
    unwell.add(of);
  };
  const hear = async (door: AgentDoor): Promise<void> => {
    try {
      const answer = await ask(door, options, 0);
      unwell.delete(door.place);
      const before = told.get(door.place);
      const after = before?.run === answer.run ? before.newest : 0;
      options.warn(`${door.place} is followed, too`);
      printMore({ ...answer, records: answer.records.filter(({ number }) => number > after) }, options);
      follow({ door, first: answer }, following);
    } catch (error) {
      door.close();
      if (!isFault(error)) throw error;
      warnOnce(door.place, `${door.place} is not followed yet: ${describe(error)}`);
    }
  };
  return async () => {
    let doors: readonly AgentDoor[];
    try {
      doors = await find();
    } catch (error) {
      if (!isFault(error)) throw error;
      return warnOnce("", `agents that join are not found: ${describe(error)}; looking on`);
    }
    const places = new Set(doors.map(({ place }) => place));
    unwell.delete("");
    for (const place of unwell) if (!places.has(place)) unwell.delete(place);
    for (const place of told.keys()) if (!places.has(place) && !underWay.has(place)) told.delete(place);
    await Promise.all(doors.filter(({ place }) => !underWay.has(place)).map(hear));
  };
}

function printMore(answer: TellingAnswer, options: FlowsOptions): void {
  const records = ofNode(answer);
  if (records.length === 0) return;
  if (options.output === "json") for (const record of records) options.print(JSON.stringify(record));
  else options.print(flowsLines(records, areSeveral(options)));
}
