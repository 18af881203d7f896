// A node that is taken for another in a real cluster: its Node object is deleted while it is drained, and its kubelet registers it anew.

import assert from "node:assert/strict";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { readJson } from "../../lab/json.ts";
import { until } from "../../lab/waiting.ts";
import { present } from "../../src/base/assert.ts";
import { type Cidr, cidrsOverlap, parseCidr } from "../../src/net/cidr.ts";
import { callApi } from "./api-call.ts";
import type { KubernetesCluster } from "./cluster.ts";
import { untilAgreed } from "./identities.ts";
import { pod, serverPort } from "./objects.ts";
import { agents, untilRolledOut } from "./own.ts";
import { askFromPod, makeScene, url } from "./scene.ts";
import type { Part } from "./suite.ts";
import { drain } from "./upheaval.ts";

const followedWithinMs = 60_000;
const guardEveryMs = 100;
const guardMaxMs = 600_000;

const nodesSchema = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ name: z.string(), uid: z.string() }),
      spec: z.object({ podCIDRs: z.array(z.string()).default([]) }),
    }),
  ),
});
const networksSchema = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ name: z.string() }),
      spec: z.object({ nodeUid: z.string() }),
      status: z
        .object({ nodeUid: z.string().optional(), blocks: z.array(z.object({ cidr: z.string() })).default([]) })
        .default({ blocks: [] }),
    }),
  ),
});

/** A block, and whose it is: a Node's by its name and uid, so that two of one name count as two. */
interface Claim {
  owner: string;
  block: Cidr;
}

const claimsOf = (owner: string, blocks: readonly string[]): Claim[] =>
  blocks.map((text) => ({ owner, block: present(parseCidr(text), text) }));

/** Who has which block at present, by Nodes and by NodeNetworks. */
async function claims({ plane }: KubernetesCluster): Promise<Claim[]> {
  const read = async <S extends z.ZodType>(path: string, schema: S): Promise<z.output<S>> => {
    const { body } = await callApi(plane, { method: "GET", path });
    return readJson(schema, JSON.stringify(body), path);
  };
  const nodes = await read("/api/v1/nodes", nodesSchema);
  const networks = await read("/apis/fairlead.dev/v1alpha1/nodenetworks", networksSchema);
  return [
    ...nodes.items.flatMap(({ metadata, spec }) => claimsOf(`${metadata.name} ${metadata.uid}`, spec.podCIDRs)),
    ...networks.items.flatMap(({ metadata: { name }, status: { nodeUid, blocks } }) =>
      claimsOf(
        `${name} ${nodeUid ?? "of nobody"}`,
        blocks.map(({ cidr }) => cidr),
      ),
    ),
  ];
}

/** Looks again and again whether a block is that of two Nodes; `stop` gives what was seen. */
function guardBlocks(cluster: KubernetesCluster): { stop(): Promise<{ looks: number; shared: readonly string[] }> } {
  let [stopped, looks] = [false, 0];
  const shared: string[] = [];
  const look = async (): Promise<string | undefined> => {
    if (stopped) return undefined;
    // A look that fails is no look; `looks` tells how many there were.
    const all = await claims(cluster);
    looks += 1;
    for (const [index, one] of all.entries()) {
      const other = all
        .slice(index + 1)
        .find(({ owner, block }) => owner !== one.owner && cidrsOverlap(block, one.block));
      if (other !== undefined) shared.push(`${one.block} of ${one.owner}, ${other.block} of ${other.owner}`);
    }
    return "it is not stopped";
  };
  const ended = until(look, {
    what: "guard of blocks",
    withinMs: guardMaxMs,
    everyMs: guardEveryMs,
    mayFail: true,
  }).then(
    () => undefined,
    (error: unknown) => error,
  );
  return {
    stop: async () => {
      stopped = true;
      const error = await ended;
      if (error !== undefined) throw error;
      return { looks, shared };
    },
  };
}

export const replacedTests: Part = (cluster) => {
  void test("a drained node's object is deleted and made anew: it counts as another node, no block is ever that of two, and pods start", async (t) => {
    const scene = await makeScene(cluster(), t, "replaced");
    const { kubectl } = cluster();
    const node = cluster().node("node-2");
    const uid = (): Promise<string> => kubectl(["get", "node", node.name, "--output=jsonpath={.metadata.uid}"]);
    await scene.apply(pod("client", { node: "node-1" }));
    await scene.untilReady(1);
    const guard = guardBlocks(cluster());
    const before = await uid();
    await drain(cluster(), node.name);
    await kubectl(["delete", "node", node.name]);
    const swept = async (): Promise<string | undefined> => {
      const left = (await claims(cluster())).filter(({ owner }) => owner.startsWith(`${node.name} `));
      return left.map(({ owner, block }) => `${block} of ${owner}`)[0];
    };
    await until(swept, { what: "end of the old node's blocks", withinMs: followedWithinMs, everyMs: 250 });
    // A kubelet registers its node when it starts, and then only.
    await node.kill("kubelet");
    await node.start("kubelet");
    await until(() => cluster().plane.tryKubectl(["get", "node", node.name]), {
      what: `a new ${node.name}`,
      withinMs: followedWithinMs,
      everyMs: 250,
    });
    const after = await uid();
    assert.notEqual(after, before);
    await cluster().untilNodesReady();
    await untilRolledOut(cluster(), agents);
    // The kubelet can find its node Ready by the agent of before, which is about to end.
    const output = "--output=jsonpath={.spec.nodeUid} {.status.nodeUid}";
    const followed = async (): Promise<string | undefined> => {
      const network = await kubectl(["get", "nodenetwork", node.name, output, "--ignore-not-found"]);
      return network === `${after} ${after}` ? undefined : `it is of ${JSON.stringify(network)}, not of ${after}`;
    };
    await until(followed, { what: `NodeNetwork ${node.name}`, withinMs: followedWithinMs, everyMs: 250 });
    const aside = async (): Promise<string | undefined> => {
      const files = await node.run("ls", ["/var/lib/fairlead"]);
      return /^fairlead\.db\.foreign-/m.test(files) ? undefined : files.replaceAll("\n", " ");
    };
    await until(aside, { what: "the old node's state set aside", withinMs: followedWithinMs, everyMs: 250 });
    await scene.apply(pod("back", { node: node.name }));
    await scene.untilReady(1, "back");
    const pods = await scene.untilReady(2);
    for (const family of cluster().options.families) {
      const urls = pods.map(({ addresses }) => url(present(addresses[family], "address"), serverPort, "/hostname"));
      for (const from of ["client", "back"]) {
        // The other node's agent hears of the new block a moment later.
        const reached = async (): Promise<string | undefined> => {
          const seen = await askFromPod(scene, from, urls);
          return isDeepStrictEqual(
            seen,
            pods.map(({ name }) => name),
          )
            ? undefined
            : seen.join(" ");
        };
        await until(reached, { what: `all from ${from}`, withinMs: followedWithinMs, everyMs: 250, mayFail: true });
      }
    }
    await untilAgreed(cluster());
    const { looks, shared } = await guard.stop();
    assert.deepEqual([...new Set(shared)], []);
    t.diagnostic(
      `no block of two nodes in ${looks} looks; blocks now: ${(await claims(cluster())).map(({ owner, block }) => `${owner.split(" ")[0]} ${block}`).join(", ")}`,
    );
  });
};
