// Conformance 17: calls that the common library made, recorded for many configuration lists, answered by the real plugin.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { rewritten } from "./chain.ts";
import { hasLink } from "./eyes.ts";
import { fileScope, type Scope, startNode } from "./node.ts";
import { documentOf, silent } from "./runtime.ts";

interface Call {
  env: Record<string, string>;
  stdin: string;
}

interface Variant {
  about: string;
  /** Why the library takes no such list; there are no calls then. */
  error?: string;
  /** What the library refused to do by itself, by verb. */
  errors?: Record<string, string>;
  /** Every call, "VERB type". */
  order?: string[];
  /** The calls of our plugin. */
  calls?: Call[];
}

const read = (file: string): string => readFileSync(new URL(`../fixtures/${file}`, import.meta.url), "utf8");
const { variants } = JSON.parse(read("libcni-lists.json")) as { variants: Variant[] };
const node = await startNode(fileScope);

const variant = (about: string): Variant => {
  const found = variants.find((each) => each.about === about);
  assert.ok(found !== undefined, about);
  return found;
};

const verbsOf = ({ order = [] }: Variant): string[] => order.map((call) => call.replace(/ .*/, ""));

/** Makes recorded calls anew, for a pod of this test and with the results that the plugin really gave. Every one must succeed. */
async function replay(
  t: Scope,
  calls: readonly Call[],
  recorded = { id: "CONTAINER", netns: "/NETNS" },
): Promise<void> {
  const pod = node.pod(t);
  let result: Record<string, unknown> | undefined;
  for (const { env, stdin } of calls) {
    const verb = env["CNI_COMMAND"] ?? "";
    const conf = JSON.parse(stdin.replaceAll(`"${recorded.id}"`, JSON.stringify(pod.id))) as Record<string, unknown>;
    if (result !== undefined && "prevResult" in conf) conf["prevResult"] = rewritten(result);
    const changed = {
      ...env,
      CNI_PATH: node.env(verb)["CNI_PATH"],
      ...(env["CNI_CONTAINERID"] === recorded.id ? { CNI_CONTAINERID: pod.id } : {}),
      ...(env["CNI_NETNS"] === recorded.netns ? { CNI_NETNS: pod.ns.path } : {}),
    };
    const outcome = await node.call(verb, undefined, { env: changed, stdin: JSON.stringify(conf) });
    if (verb === "ADD") result = documentOf(outcome);
    else silent(outcome);
    assert.equal(hasLink(pod.ns, "eth0"), verb !== "DEL", `after ${verb}`);
    if (verb === "DEL") result = undefined;
  }
}

async function replayed(t: Scope, ...abouts: string[]): Promise<void> {
  for (const about of abouts) {
    const { calls = [] } = variant(about);
    assert.ok(calls.length > 0, about);
    await replay(t, calls);
  }
}

test("17.1 the list as installed: every verb, in the library's words", async (t) => {
  const about = "as installed by an agent";
  assert.deepEqual(verbsOf(variant(about)), ["ADD", "CHECK", "STATUS", "GC", "DEL"]);
  await replayed(t, about);
});

test("17.2 disableCheck: no CHECK is sent where it is true, and a value of another kind is no list", async (t) => {
  for (const value of ["true", '"true"']) assert.ok(!verbsOf(variant(`disableCheck ${value}`)).includes("CHECK"));
  for (const value of ["1", '"yes"', "null"])
    assert.match(variant(`disableCheck ${value}`).error ?? "", /disableCheck/);
  await replayed(t, "disableCheck true", 'disableCheck "true"', "disableCheck false");
});

test("17.3 disableGC: no GC is sent where it is true, and a value of another kind is no list", async (t) => {
  for (const value of ["true", '"true"']) assert.ok(!verbsOf(variant(`disableGC ${value}`)).includes("GC"));
  for (const value of ["1", '"yes"', "null"]) assert.match(variant(`disableGC ${value}`).error ?? "", /disableGC/);
  await replayed(t, "disableGC true", 'disableGC "true"', "disableGC false");
});

test("17.4 loadOnlyInlinedPlugins: plugins beside the list come after ours, or not at all", async (t) => {
  const beside = variant("plugins beside the list");
  assert.deepEqual(beside.order?.slice(0, 2), ["ADD fairlead-cni", "ADD tuning"]);
  const inlined = variant("plugins beside the list, and only inlined ones wanted");
  assert.ok(!inlined.order?.some((call) => call.endsWith("tuning")));
  for (const about of ["loadOnlyInlinedPlugins 1", "no plugins at all", "no plugins, and only inlined ones wanted"])
    assert.ok(variant(about).error !== undefined, about);
  await replayed(t, beside.about, inlined.about, "only plugins beside the list", "loadOnlyInlinedPlugins true");
});

test("17.5 cniVersions: the highest that the library knows is used, and all verbs come with it", async (t) => {
  const { calls = [] } = variant("cniVersion 1.0.0 with newer cniVersions");
  for (const { stdin } of calls) assert.match(stdin, /"cniVersion":"1\.1\.0"/);
  assert.equal(calls.length, 5);
  await replay(t, calls);
});

test("17.6 older versions: fewer verbs come", async (t) => {
  assert.deepEqual(verbsOf(variant("cniVersion 1.0.0 alone")), ["ADD", "CHECK", "DEL"]);
  assert.deepEqual(verbsOf(variant("cniVersion 0.3.1")), ["ADD", "DEL"]);
  await replayed(t, "cniVersion 1.0.0 alone", "cniVersion 0.3.1");
});

test("17.7 between tuning and portmap, bandwidth, firewall: every verb, with capabilities", async (t) => {
  const { calls = [], order = [] } = variant("plugins before and after");
  assert.equal(order.length, 25);
  assert.deepEqual(order.at(-1), "DEL tuning");
  await replay(t, calls);
});

test("17.8 the same calls in 0.2.0, 0.4.0 and 1.1.0, as an earlier recording has them", async (t) => {
  const { calls } = JSON.parse(read("libcni-calls.json")) as { calls: Call[] };
  assert.equal(calls.length, 10);
  await replay(t, calls, { id: "abc", netns: "/run/netns/x" });
});
