// What Fairlead tells of real pods under policy: `fairlead why`, `flows` and `groups` say what packets meet.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { exec } from "../../lab/exec.ts";
import { readJson } from "../../lab/json.ts";
import { until } from "../../lab/waiting.ts";
import { present } from "../../src/base/assert.ts";
import { Fault } from "../../src/base/fault.ts";
import { breakGlassAnnotation } from "../../src/policy/break-glass.ts";
import { binding, group, removeAfter } from "./groups.ts";
import { pod, serverPort } from "./objects.ts";
import { inPod, named, serverUrls, untilReach } from "./reach.ts";
import { makeScene, type Scene } from "./scene.ts";
import type { Part } from "./suite.ts";

const fairlead = fileURLToPath(new URL("../../bin/fairlead", import.meta.url));
const toldWithinMs = 60_000;
/** The tool itself waits up to 35 s for agents and the API server. */
const askedWithinMs = 60_000;
/** Longer than the test takes: it is ended before. */
const glassMs = 3_600_000;

const answerSchema = z.object({
  family: z.number(),
  passes: z.boolean(),
  judgements: z.array(z.object({ judgement: z.string(), outcome: z.string(), object: z.string().optional() })),
});
const flowSchema = z.object({
  node: z.string(),
  outcome: z.string(),
  source: z.object({ pod: z.string().optional() }),
  destination: z.object({ pod: z.string().optional() }),
  port: z.number().optional(),
  objects: z.array(z.string()),
});
const groupsSchema = z.object({
  groups: z.array(
    z.object({
      name: z.string(),
      members: z.array(z.object({ pod: z.string(), node: z.string() })),
      rules: z.array(z.object({ hits: z.object({ max: z.number() }).optional() })),
      denied: z.number().optional(),
    }),
  ),
  asked: z.array(z.string()),
});

/** What the tool prints for an administrator of the cluster; it ends with 1 where something does not pass. */
async function told({ cluster: { lab, plane, plan } }: Scene, args: readonly string[]): Promise<string> {
  const all = [...args, `--kubeconfig=${plane.kubeconfig}`, "--output=json"];
  const { code, stdout, stderr } = await exec(fairlead, all, {
    env: lab.env,
    netns: plan.control.netns,
    timeoutMs: askedWithinMs,
  });
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
    const urls = serverUrls(scene, named(pods, "back"));
    await untilReach("to back", urls, { open: [inPod(scene, "front")], closed: [unbound] });

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

    const isDenied = async (): Promise<string | undefined> => {
      // Each time anew: a flow is given the names that its agent knows then, and never one later.
      await unbound.curl(["--silent", "--max-time", "1", ...urls]);
      const text = await told(scene, ["flows", "--denied", "--pod", name("back")]);
      const flows = linesOf(text).map((line) => readJson(flowSchema, line, "fairlead flows"));
      const found = flows.filter(
        ({ node, outcome, source, destination, port, objects }) =>
          node === "node-2" &&
          outcome === "denied" &&
          source.pod === name("unbound") &&
          destination.pod === name("back") &&
          port === serverPort &&
          objects.includes(`SecurityGroup ${back}`),
      );
      return found.length > 0 ? undefined : `${flows.length} flows: ${text.slice(0, 1000)}`;
    };
    await until(isDenied, { what: "the denied flow", withinMs: toldWithinMs, everyMs: 200, mayFail: true });

    const { groups, asked } = readJson(groupsSchema, await told(scene, ["groups"]), "fairlead groups");
    assert.deepEqual(asked, ["node-1", "node-2"]);
    const membersOf = (of: string): unknown => groups.find((one) => one.name === of)?.members;
    const members = [front, back].map(membersOf);
    assert.deepEqual(members, [[{ pod: name("front"), node: "node-1" }], [{ pod: name("back"), node: "node-2" }]]);
    const { denied = 0, rules } = present(
      groups.find((one) => one.name === back),
      "the group",
    );
    // One packet at least began each connection that was let in, and each that was not, as the agent of node-2 alone can know.
    assert.ok(denied > 0 && rules.length === 1 && (rules[0]?.hits?.max ?? 0) > 0, JSON.stringify({ denied, rules }));
  });

  void test("break-glass opens the pods of its namespace, why says by what, and its end closes them", async (t) => {
    const scene = await makeScene(cluster(), t, "glass");
    const back = "t-glass-back";
    removeAfter(t, scene, back);
    await scene.apply(
      group(back, { ingress: [] }),
      binding("back", back),
      pod("back", { node: "node-2" }),
      pod("unbound", { node: "node-1" }),
    );
    const urls = serverUrls(scene, named(await scene.untilReady(2), "back"));
    const unbound = inPod(scene, "unbound");
    await untilReach("to back, by its group", urls, { closed: [unbound] });
    const begins = Date.now();
    const text = [begins, begins + glassMs].map((ms) => new Date(ms).toISOString().replace(/\.\d+Z$/, "Z")).join("/");
    await cluster().kubectl(["annotate", "namespace", scene.namespace, `${breakGlassAnnotation}=${text}`]);
    await untilReach("to back, under break-glass", urls, { open: [unbound] });
    const why = (): Promise<string> =>
      told(scene, ["why", `${scene.namespace}/unbound`, `${scene.namespace}/back`, String(serverPort)]);
    const passes = async (): Promise<boolean[]> =>
      linesOf(await why()).map((line) => readJson(answerSchema, line, "fairlead why").passes);
    const families = cluster().options.families;
    assert.deepEqual(
      await passes(),
      families.map(() => true),
    );
    assert.match(await why(), /break-glass/i);
    await cluster().kubectl(["annotate", "namespace", scene.namespace, `${breakGlassAnnotation}-`]);
    await untilReach("to back, after break-glass", urls, { closed: [unbound] });
    assert.deepEqual(
      await passes(),
      families.map(() => false),
    );
  });
};
