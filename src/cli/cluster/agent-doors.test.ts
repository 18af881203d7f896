// Agents found by their pods and asked through them: which are, which pod after a restart, and what is said where there is none.

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";
import { z } from "zod";
import { emptyCluster } from "../../../test/cli-cluster.ts";
import { faultSaying } from "../../../test/kernel-stage.ts";
import { present } from "../../base/assert.ts";
import { Fault } from "../../base/fault.ts";
import { namespaces } from "../../kube/policy-objects.ts";
import { pods } from "../../kube/core-objects.ts";
import { defineKind, meta } from "../../kube/schema.ts";
import { createTalk, type Talk } from "../agents/talk.ts";
import { agentDoors, doorsOfCluster } from "./agent-doors.ts";
import type { OpenTalk } from "./exec.ts";
import type { OpenCluster } from "./open.ts";

const namespace = "fairlead-system";

/** Pods as they are written: what we read of them has no containers. */
const writtenPod = z.looseObject({ metadata: meta });
const written = defineKind(pods, writtenPod);

interface Stage {
  cluster: OpenCluster;
  run: (name: string, node: string, more?: { phase?: string; component?: string }) => Promise<void>;
  stop: (name: string) => Promise<void>;
}

async function withPods(t: TestContext): Promise<Stage> {
  const { cluster } = await emptyCluster(t);
  const { kube } = cluster;
  await kube.create(namespaces, namespaces.parse({ metadata: { name: namespace } }));
  return {
    cluster,
    run: async (name, nodeName, { phase = "Running", component = "agent" } = {}) => {
      const metadata = { name, namespace, labels: { "app.kubernetes.io/component": component } };
      const spec = { nodeName, containers: [{ name: "agent", image: "test" }] };
      await kube.create(written, writtenPod.parse({ metadata, spec }));
      await kube.patch(
        pods,
        { name, namespace },
        { type: "merge", body: { status: { phase } } },
        { subresource: "status" },
      );
    },
    stop: (name) => kube.remove(pods, { name, namespace }),
  };
}

/** Starts nothing: which pods were opened, and their talks, whose questions are answered with the pod's name. */
function opener(): { open: OpenTalk; opened: string[]; talks: Talk[]; closed: string[] } {
  const [opened, closed]: [string[], string[]] = [[], []];
  const talks: Talk[] = [];
  const open: OpenTalk = async (pod, place) => {
    opened.push(pod);
    const talk: Talk = createTalk(place, () =>
      queueMicrotask(() => talk.heard(`${JSON.stringify({ answer: pod })}\n`)),
    );
    talks.push(talk);
    return { talk, close: () => void closed.push(pod) };
  };
  return { open, opened, talks, closed };
}

void test("a door for each node on which an agent runs, opened once when it is first asked", async (t) => {
  const { cluster, run } = await withPods(t);
  await run("agent-b", "node-2");
  await run("agent-a", "node-1");
  await run("agent-c", "node-3", { phase: "Pending" });
  await run("controller", "node-4", { component: "controller" });
  const { open, opened, closed } = opener();
  const doors = await agentDoors(cluster, undefined, open);
  assert.deepEqual([...doors.keys()], ["node-1", "node-2"]);
  assert.deepEqual(opened, []);
  const door = present(doors.get("node-2"), "a door");
  assert.deepEqual([await door.ask("/a"), await door.ask("/b")], ["agent-b", "agent-b"]);
  assert.deepEqual(opened, ["agent-b"]);
  door.close();
  present(doors.get("node-1"), "a door").close();
  await door.ask("/c");
  assert.deepEqual(closed, ["agent-b"]);
  assert.deepEqual([...(await agentDoors(cluster, new Set(["node-1", "node-3"]), open)).keys()], ["node-1"]);
});

void test("after the end of its program the agent is looked for anew: another pod may be it", async (t) => {
  const { cluster, run, stop } = await withPods(t);
  await run("old", "node-1");
  const { open, opened, talks, closed } = opener();
  const door = present((await agentDoors(cluster, undefined, open)).get("node-1"), "a door");
  await door.ask("/a");
  present(talks[0], "a talk").ended("killed");
  await stop("old");
  await assert.rejects(door.ask("/a"), faultSaying("io-failure", /the agent of node node-1 cannot be asked: killed/));
  await assert.rejects(door.ask("/a"), faultSaying("not-found", /no pod of an agent runs there/));
  await run("new", "node-1");
  assert.equal(await door.ask("/a"), "new");
  assert.deepEqual([opened, closed], [["old", "new"], ["old"]]);
});

void test("what cannot be opened is tried again when it is asked again", async (t) => {
  const { cluster, run } = await withPods(t);
  await run("agent-a", "node-1");
  const { open } = opener();
  let tries = 0;
  const door = present(
    (
      await agentDoors(cluster, undefined, (pod, place) => {
        tries += 1;
        return tries === 1 ? Promise.reject(new Fault("io-failure", "not yet")) : open(pod, place);
      })
    ).get("node-1"),
    "a door",
  );
  await assert.rejects(door.ask("/a"), faultSaying("io-failure", /not yet/));
  assert.equal(await door.ask("/a"), "agent-a");
});

void test("no agent, none on a node, and an API server that does not let in: said in words", async (t) => {
  const { cluster, run } = await withPods(t);
  await assert.rejects(
    doorsOfCluster(cluster, undefined),
    faultSaying("not-found", /no agent runs as a pod .* on this cluster/),
  );
  await run("agent-a", "node-1");
  await assert.rejects(doorsOfCluster(cluster, "node-2"), faultSaying("not-found", /on node node-2/));
  const [door] = await doorsOfCluster(cluster, "node-1");
  // This small server knows no exec: the library hears an HTTP status in place of a connection.
  await assert.rejects(
    present(door, "a door").ask("/a"),
    faultSaying("io-failure", /agent-a: Unexpected server response: 404/),
  );
});
