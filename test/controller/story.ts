// Random stories of a cluster: steps that a seed gives, played with two replicas that both believe they lead, and held against what must be.

import fc from "fast-check";
import { isFault } from "../../src/base/fault.ts";
import { present } from "../../src/base/assert.ts";
import { nodes } from "../../src/kube/core-objects.ts";
import { nodeNetworks } from "../../src/kube/objects.ts";
import { type Cidr, parseCidr } from "../../src/net/cidr.ts";
import type { Caches } from "../../src/controller/deps.ts";
import { createSchedule, type Schedule } from "./schedule.ts";
import { type Replica, startReplica } from "./replica.ts";
import { checkSettled, settle } from "./settled.ts";
import { createWorld, type World, type WorldConfig } from "./world.ts";

/** Names that nodes come under, again and again. */
const names = ["n0", "n1", "n2"] as const;
/** Blocks for two of them. */
const blocks = 2;
const cacheNames = ["nodes", "networks", "endpoints", "ledgers"] as const satisfies readonly (keyof Caches)[];
/** Steps after which a replica gets what the server has told, where it was behind. */
const replicas = [0, 1] as const;

export type Step =
  | { do: "register" | "leave" | "agent" | "touch" | "ghost"; node: number }
  /** A replica begins a pass, where it is not in the middle of one. */
  | { do: "pass"; replica: 0 | 1 }
  /** A replica that is not in the middle of a pass makes whole ones, while the calls of others wait. */
  | { do: "work"; replica: 0 | 1 }
  /** One of the calls that wait to be made is made, and answered. */
  | { do: "call"; nth: number }
  /** A replica's cache falls behind, or catches up. */
  | { do: "lag" | "catch up"; replica: 0 | 1; cache: number }
  /** A replica dies in the middle of what it does; with `late`, the calls it had sent are made afterwards. */
  | { do: "die"; replica: 0 | 1; late: boolean };

const node = fc.nat(names.length - 1);
const replica = fc.constantFrom(...replicas);
const cache = fc.nat(cacheNames.length - 1);

const about = <K extends string>(kind: K) => fc.constant(kind);

export const stories: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ do: about("register"), node }) },
    { weight: 3, arbitrary: fc.record({ do: about("leave"), node }) },
    { weight: 5, arbitrary: fc.record({ do: about("agent"), node }) },
    { weight: 1, arbitrary: fc.record({ do: about("touch"), node }) },
    { weight: 1, arbitrary: fc.record({ do: about("ghost"), node }) },
    { weight: 5, arbitrary: fc.record({ do: about("pass"), replica }) },
    { weight: 10, arbitrary: fc.record({ do: about("call"), nth: fc.nat(7) }) },
    { weight: 5, arbitrary: fc.record({ do: about("work"), replica }) },
    { weight: 1, arbitrary: fc.record({ do: about("lag"), replica, cache }) },
    { weight: 1, arbitrary: fc.record({ do: about("catch up"), replica, cache }) },
    { weight: 1, arbitrary: fc.record({ do: about("die"), replica, late: fc.boolean() }) },
  ),
  { minLength: 40, maxLength: 120, size: "max" },
);

const cidr = (text: string): Cidr => present(parseCidr(text), text);
/** Blocks change hands all the time, and somebody may have to wait. */
const config: WorldConfig = {
  assign: "fairlead",
  ranges: [{ cidr: cidr("10.64.0.0/30"), blockPrefix: 31 }],
  serviceRanges: [],
};

interface Actor {
  replica: Replica;
  schedule: Schedule;
  /** The pass under way. */
  passing: Promise<void> | undefined;
}

/** Plays the steps, then lets one replica put everything in order. @throws AssertionError where something is not as it must be */
export async function play(steps: readonly Step[]): Promise<void> {
  const world = await createWorld(config);
  const actors: Actor[] = [];
  const everybody: Actor[] = [];
  try {
    for (const at of replicas) everybody.push((actors[at] = await startActor(world)));
    for (const step of steps) await take(step, world, actors, everybody);
    for (const { schedule, passing } of everybody) {
      await schedule.open();
      if (schedule.alive()) await passing;
    }
    const [last] = actors;
    if (last === undefined) return;
    last.replica.freeze(false);
    await settle(world, last.replica);
    await checkSettled(world, await surplus(world));
  } finally {
    for (const { schedule } of everybody) await schedule.open();
    for (const { replica } of everybody) await replica.close();
    await world.close();
  }
}

async function startActor(world: World): Promise<Actor> {
  const schedule = createSchedule();
  const replica = await startReplica(world, schedule);
  await replica.passOf("memberships"); // which waits for lists at first, and has nothing to write here
  return { replica, schedule, passing: undefined };
}

async function take(step: Step, world: World, actors: Actor[], everybody: Actor[]): Promise<void> {
  switch (step.do) {
    case "register":
      return allowing(["kube-exists"], async () => void (await world.addNode(names[step.node] ?? "")));
    case "leave":
      return world.removeNode(names[step.node] ?? "");
    case "agent":
      return allowing(["kube-not-found"], () => world.runAgent(names[step.node] ?? ""));
    case "touch":
      return allowing(["kube-not-found"], () => touch(world, names[step.node] ?? ""));
    case "ghost":
      return allowing(["kube-exists"], () => world.runGhost(names[step.node] ?? ""));
    case "work": {
      const { replica, schedule, passing } = present(actors[step.replica], "an actor");
      if (passing !== undefined) return;
      await replica.catchUp();
      schedule.hurry(true);
      // A pass to give or to find somebody gone, one to free, one to give what came free.
      for (let pass = 0; pass < 3; pass += 1) {
        await replica.pass().catch(() => {}); // as below
        await replica.catchUp();
      }
      return schedule.hurry(false);
    }
    case "pass": {
      const actor = present(actors[step.replica], "an actor");
      if (actor.passing !== undefined) return;
      // That a call of it is refused is as it should be: somebody was faster.
      actor.passing = actor.replica
        .pass()
        .catch(() => {})
        .finally(() => void (actor.passing = undefined));
      return actor.schedule.quiet();
    }
    case "call": {
      const waiting = everybody.flatMap(({ schedule }) => schedule.waiting().map((make) => ({ make, schedule })));
      const chosen = waiting[step.nth % Math.max(1, waiting.length)];
      if (chosen === undefined) return;
      await chosen.make();
      return chosen.schedule.quiet();
    }
    case "lag":
      return actors[step.replica]?.replica.freeze(true, cacheNames[step.cache] ?? "nodes");
    case "catch up": {
      const actor = present(actors[step.replica], "an actor");
      await actor.replica.catchUp();
      return actor.replica.freeze(false, cacheNames[step.cache] ?? "nodes");
    }
    case "die": {
      present(actors[step.replica], "an actor").schedule.die(step.late);
      everybody.push((actors[step.replica] = await startActor(world)));
      return;
    }
    default:
      return step satisfies never;
  }
}

/** The agent, even of a node that is gone, writes something that is nothing to us. */
async function touch(world: World, name: string): Promise<void> {
  world.nowMs += 1;
  const body = { metadata: { annotations: { touched: String(world.nowMs) } } };
  await world.kube.patch(nodeNetworks, { name }, { type: "merge", body });
}

async function allowing(codes: Parameters<typeof isFault>[1][], work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!isFault(error, ...codes)) throw error;
  }
}

/** Who may go without, since others have all there is. */
async function surplus({ kube }: World): Promise<Set<string>> {
  const { items } = await kube.list(nodes);
  const without = items.filter(({ spec }) => spec.podCIDRs === undefined).map(({ metadata }) => metadata.name);
  return new Set(without.slice(0, Math.max(0, items.length - blocks)));
}
