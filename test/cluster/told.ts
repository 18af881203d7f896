// What Fairlead tells of real pods under policy: `fairlead why`, `flows` and `groups` say what packets meet.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { exec } from "../../lab/exec.ts";
import { readJson } from "../../lab/json.ts";
import { until } from "../../lab/waiting.ts";
import { Fault } from "../../src/base/fault.ts";
import { present } from "../../src/base/assert.ts";
import { binding, group, removeAfter } from "./groups.ts";
import { pod, serverPort } from "./objects.ts";
import { ownPods, system } from "./own.ts";
import { inPod, named, serverUrls, untilReach } from "./reach.ts";
import { makeScene, type Scene } from "./scene.ts";
import type { Part } from "./suite.ts";

const fairlead = fileURLToPath(new URL("../../bin/fairlead", import.meta.url));
const toldWithinMs = 10_000;

const answerSchema = z.object({
  family: z.number(),
  passes: z.boolean(),
  judgements: z.array(z.object({ judgement: z.string(), outcome: z.string(), object: z.string().optional() })),
});
const flowSchema = z.object({
  outcome: z.string(),
  source: z.object({ pod: z.string().optional() }),
  destination: z.object({ pod: z.string().optional() }),
  port: z.number().optional(),
  objects: z.array(z.string()),
});
const groupsSchema = z.object({
  groups: z.array(z.object({ name: z.string(), members: z.array(z.object({ pod: z.string(), node: z.string() })) })),
});

/** What the tool prints for an administrator of the cluster; it ends with 1 where something does not pass. */
async function told({ cluster: { lab, plane, plan } }: Scene, args: readonly string[]): Promise<string> {
  const all = [...args, `--kubeconfig=${plane.kubeconfig}`, "--output=json"];
  const { code, stdout, stderr } = await exec(fairlead, all, { env: lab.env, netns: plan.control.netns });
  if (code !== 0 && code !== 1) throw new Fault("lab-failed", stderr);
  return stdout;
}

const linesOf = (text: string): string[] => text.split("\n").filter((line) => line !== "");

export const toldTests: Part = (cluster) => {
  void test("why, flows and groups say of real pods what packets meet", async (t) => {
    const scene = await makeScene(cluster(), t, "told");
    const [front, back] = ["t-told-front", "t-told-back"];
    removeAfter(t, scene, front, back);
    await scene.apply(
      group(front, { ingress: [] }),
      group(back, { ingress: [{ protocol: "tcp", ports: [{ port: serverPort }], from: [{ securityGroup: front }] }] }),
      binding("front", front),
      binding("back", back),
      pod("front", { node: "node-1" }),
      pod("back", { node: "node-2" }),
      pod("unbound", { node: "node-1" }),
    );
    const pods = await scene.untilReady(3);
    const name = (of: string): string => `${scene.namespace}/${of}`;
    const unbound = inPod(scene, "unbound");
    await untilReach("to back", serverUrls(scene, named(pods, "back")), {
      open: [inPod(scene, "front")],
      closed: [unbound],
    });

    for (const [from, passes] of [
      ["front", true],
      ["unbound", false],
    ] as const) {
      const text = await told(scene, ["why", name(from), name("back"), String(serverPort)]);
      const answers = linesOf(text).map((line) => readJson(answerSchema, line, "fairlead why"));
      assert.deepEqual(
        answers.map((answer) => [answer.family, answer.passes]),
        cluster().options.families.map((family) => [family, passes]),
      );
      for (const { judgements } of answers) {
        const decided = present(
          judgements.find(({ judgement }) => judgement === "ingress groups"),
          "a judgement",
        );
        assert.deepEqual([decided.outcome, decided.object], [passes ? "allowed" : "denied", `SecurityGroup ${back}`]);
      }
    }

    const agent = present(
      (await ownPods(cluster(), "agent")).find(({ node }) => node === "node-2"),
      "an agent",
    );
    const ask = ["exec", agent.name, "--", "fairlead", "flows", "--denied", "--pod", name("back"), "--output", "json"];
    const isDenied = async (): Promise<string | undefined> => {
      const text = await cluster().kubectl(["--namespace", system, ...ask]);
      const flows = linesOf(text).map((line) => readJson(flowSchema, line, "fairlead flows"));
      const found = flows.filter(
        ({ outcome, source, destination, port, objects }) =>
          outcome === "denied" &&
          source.pod === name("unbound") &&
          destination.pod === name("back") &&
          port === serverPort &&
          objects.includes(`SecurityGroup ${back}`),
      );
      return found.length > 0 ? undefined : `${flows.length} flows: ${text.slice(0, 1000)}`;
    };
    // The name of a pod of another node is asked for after the packet was heard of.
    await until(isDenied, { what: "the denied flow", withinMs: toldWithinMs, everyMs: 200 });

    const { groups } = readJson(groupsSchema, await told(scene, ["groups"]), "fairlead groups");
    const membersOf = (of: string): unknown => groups.find((one) => one.name === of)?.members;
    const members = [front, back].map(membersOf);
    assert.deepEqual(members, [[{ pod: name("front"), node: "node-1" }], [{ pod: name("back"), node: "node-2" }]]);
  });
};
