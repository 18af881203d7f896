// Traffic between all pods of a proof: every packet a flow of its own, numbered, and heard or not; beside it connections that stay open.

import type { TestContext } from "node:test";
import { z } from "zod";
import { present } from "../../src/base/assert.ts";
import { type Program, startProgram } from "./programs.ts";
import type { FirePod } from "./stage.ts";

/** Where packets go, by UDP; where connections go, by TCP. */
export const trafficPort = 7001;
const streamPort = 7002;
/** A round sends one packet for each two pods and family. */
const roundMs = 50;
/** Longer than any test. */
const foreverMs = 3_600_000;

export const sentByPods = z.object({
  /** When each round began, in ms of CLOCK_MONOTONIC. */
  times: z.array(z.number()),
  /** First and last round of each pod; null where it never sent. */
  pods: z.record(z.string(), z.tuple([z.number(), z.number()])),
});
/** Rounds that came, by listener, by "SENDER FAMILY". */
export const heardByEars = z.record(z.string(), z.record(z.string(), z.array(z.number())));

const streamEnds = z.record(
  z.string(),
  z.object({ echoes: z.number(), silentMs: z.number(), ended: z.string().nullable() }),
);

export interface Flow {
  from: string;
  to: string;
  family: 4 | 6;
  /** Rounds in which it was sent, from first to last. */
  first: number;
  last: number;
  /** Those of them that came. */
  came: ReadonlySet<number>;
}

export interface Traffic {
  /** When each round began, in ms of CLOCK_MONOTONIC. */
  times: readonly number[];
  flows: readonly Flow[];
  streams: z.output<typeof streamEnds>;
}

export interface Running {
  /** Ends all sending, and gives what was sent and what came. */
  end: () => Promise<Traffic>;
}

/** A connection that stays open: from one pod to another. */
export interface StreamWish {
  from: FirePod;
  to: FirePod;
}

/** Lets every pod send to every pod, itself included, by both families; `streams` must be allowed from the start. */
export async function startTraffic(
  t: TestContext,
  pods: readonly FirePod[],
  streams: readonly StreamWish[],
): Promise<Running> {
  const namespaces = Object.fromEntries(pods.map(({ name, netns }) => [name, netns]));
  const ears = await startProgram(t, "ears.py", { ears: namespaces, port: trafficPort });
  const open = await startStreams(t, streams);
  const targets = Object.fromEntries(pods.map(({ name, addresses }) => [name, addresses]));
  const senders = await startProgram(t, "newborns.py", { targets, port: trafficPort, roundMs, activeMs: foreverMs });
  pods.forEach(({ netns }, number) => senders.say(`pod ${number} ${netns}`));
  return {
    end: async () => {
      const sent = sentByPods.parse(await senders.end());
      const heard = heardByEars.parse(await ears.end());
      const flows = pods.flatMap(({ name: from }, number) => {
        const [first, last] = present(sent.pods[number], `what ${from} sent`);
        return pods.flatMap(({ name: to }) =>
          ([4, 6] as const).map((family): Flow => {
            const came = new Set(heard[to]?.[`${number} ${family}`] ?? []);
            return { from, to, family, first, last, came };
          }),
        );
      });
      return { times: sent.times, flows, streams: streamEnds.parse(await open.end()) };
    },
  };
}

function startStreams(t: TestContext, streams: readonly StreamWish[]): Promise<Program> {
  const named = streams.flatMap(({ from, to }) =>
    ([4, 6] as const).map((family) => {
      const stream = { from: from.netns, to: present(to.addresses[family], "address") };
      return [`${from.name} > ${to.name} over IPv${family}`, stream] as const;
    }),
  );
  const servers = Object.fromEntries(streams.map(({ to }) => [to.name, to.netns]));
  const wish = { servers, streams: Object.fromEntries(named), port: streamPort, everyMs: 50 };
  return startProgram(t, "streams.py", wish);
}
