// Damage done to a real node on purpose, each to a pod of its own, and what the audit must say of it: for the audit's own tests.

import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { present } from "../src/base/assert.ts";
import { type CniResult, startTestAgent, type TestAgent } from "./agent.ts";
import { makeNetns, type TestNetns } from "./netns.ts";
import { until } from "./until.ts";

/** One attached pod and the words for it. */
export interface Place {
  agent: TestAgent;
  /** What ADD printed. */
  result: CniResult;
  node: TestNetns;
  pod: TestNetns;
  link: string;
  v4: string;
  v6: string;
  hostMac: string;
  podMac: string;
  /** "link fl… of fairlead/c1/eth0" and "interface eth0 of fairlead/c1/eth0 in /run/netns/…" */
  hostEnd: string;
  podEnd: string;
}

export interface Damage {
  what: string;
  cause: (place: Place) => unknown;
  /** All that the audit says, and nothing else. */
  seen: (place: Place) => string[];
  /** Where neither a starting agent nor DEL of the pod mends it. */
  mend?: (place: Place) => unknown;
  /** What a starting agent leaves as it is, until the pod goes. */
  stays?: (place: Place) => string[];
}

/** What waits for the agent gets so long in these tests, since it waits for good. */
export const shortly = { withinMs: 300 };

const routes = [{ to: "10.4.2.0/24", via: "172.30.0.12" }];

export async function attach(t: TestContext, agent: TestAgent, containerId: string): Promise<Place> {
  const pod = makeNetns(t);
  const result = await agent.add({ containerId, netns: pod.path });
  const { interfaces, ips } = result;
  const [host, eth0] = [present(interfaces[0], "host end"), present(interfaces[1], "pod end")];
  const [v4 = "", v6 = ""] = ips.map(({ address }) => address.replace(/\/.*/, ""));
  return {
    agent,
    result,
    node: agent.node,
    pod,
    link: host.name,
    v4,
    v6,
    hostMac: host.mac,
    podMac: eth0.mac,
    hostEnd: `link ${host.name} of fairlead/${containerId}/eth0`,
    podEnd: `interface eth0 of fairlead/${containerId}/eth0 in ${pod.path}`,
  };
}

/**
 * Causes each damage to a pod of its own, looks, and detaches the pod again; in the end the node must be exact. An agent mends
 * most such damage by itself: with "stopped" there is none while it is caused and seen, and one that starts must mend it.
 */
export async function causeEach(t: TestContext, damages: readonly Damage[], during: "runs" | "stopped"): Promise<void> {
  const agent = await startTestAgent(t, { routes });
  const bystander = await attach(t, agent, "bystander");
  for (const [index, { what, cause, seen, mend, stays = () => [] }] of damages.entries()) {
    const place = await attach(t, agent, `c${index}`);
    assert.deepEqual(await agent.audit.problems(), [], `before: ${what}`);
    if (during === "stopped") await agent.stop();
    await cause(place);
    await untilOnly(agent, seen(place), what);
    if (during === "stopped") {
      await agent.start();
      await mend?.(place);
      await untilOnly(agent, stays(place), `mended: ${what}`);
    } else await mend?.(place);
    assert.equal((await agent.cni("DEL", { containerId: `c${index}`, netns: place.pod.path })).exitCode, 0);
  }
  bystander.pod.run("ping", "-c1", "-W5", "172.30.0.11");
}

/** Waits until the audit says just that. */
export async function untilOnly(
  { audit }: Pick<TestAgent, "audit">,
  wanted: readonly string[],
  what: string,
): Promise<void> {
  let last: string[] = [];
  const said = async (): Promise<boolean> => {
    last = (await audit.problems(shortly)).toSorted();
    return isDeepStrictEqual(last, wanted.toSorted());
  };
  await until(what, said).catch(() => assert.deepEqual(last, wanted.toSorted(), what));
}
