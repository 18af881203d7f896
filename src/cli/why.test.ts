// `fairlead why` on files: what it prints, what its exit code follows from, and what it refuses.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { showWhy, type WhyOptions } from "./why.ts";

const shop = `
apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { team: shop } }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: api, namespace: shop }
spec:
  template:
    metadata: { labels: { tier: api } }
    spec: { containers: [{ name: main, ports: [{ name: http, containerPort: 8080 }] }] }
---
apiVersion: batch/v1
kind: CronJob
metadata: { name: report, namespace: shop }
spec: { jobTemplate: { spec: { template: { metadata: { labels: { tier: api } }, spec: { containers: [{ name: main }] } } } } }
---
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: Pod
    metadata: { name: db, namespace: shop, labels: { tier: db } }
    spec: { containers: [{ name: main, ports: [{ name: sql, containerPort: 5432 }] }] }
  - { apiVersion: v1, kind: Pod, metadata: { name: stray, namespace: elsewhere }, spec: { containers: [] } }
`;
const policy = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: db, namespace: shop }
spec:
  podSelector: { matchLabels: { tier: db } }
  ingress: [{ from: [{ podSelector: { matchLabels: { tier: api } } }], ports: [{ port: sql }] }]
`;

interface Run {
  text: string;
  well: boolean;
}

/** Runs it on files of these contents, with no cluster to ask. */
async function run(t: TestContext, contents: readonly string[], options: Partial<WhyOptions>): Promise<Run> {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-why-"));
  t.after(() => rmSync(directory, { recursive: true }));
  contents.forEach((content, index) => writeFileSync(join(directory, `${index}.yaml`), content));
  const open = (): Promise<never> => Promise.reject(new Error("no cluster is asked"));
  const questions = options.questions === undefined ? {} : { questions: join(directory, "questions") };
  writeFileSync(join(directory, "questions"), options.questions ?? "");
  return showWhy(open, { files: [directory], output: "table", ...options, ...questions });
}

void test("people are told both families, what decides, what nearly allowed it, and what would have to change", async (t) => {
  const { text, well } = await run(t, [shop, policy], { from: "elsewhere/stray", to: "shop/db", traffic: "sql" });
  assert.equal(well, false);
  assert.deepEqual(text.split("\n").slice(0, 12), [
    "elsewhere/stray -> shop/db, tcp 5432",
    "",
    "IPv4 198.18.0.2 -> 198.18.0.1: does NOT pass",
    "  JUDGEMENT               ON   OUTCOME      BY                      WHY",
    "  egress NetworkPolicy    -    not judged   -                       no NetworkPolicy isolates pod elsewhere/stray for egress",
    "  egress groups           -    not judged   -                       no security group limits what pod elsewhere/stray sends",
    "  ingress NetworkPolicy   -    DENIED       NetworkPolicy shop/db   no rule allows tcp 5432 from pod elsewhere/stray (198.18.0.2)",
    "  ingress groups          -    not judged   -                       pod shop/db is bound to no security group",
    "  nearly: NetworkPolicy shop/db ingress rule 1 allows tcp 5432 from pods tier=api of namespaces kubernetes.io/metadata.name=shop, and pod elsewhere/stray (198.18.0.2) is none of them",
    "  to pass ingress NetworkPolicy, one of:",
    "    - make pod elsewhere/stray (198.18.0.2) a peer of NetworkPolicy shop/db ingress rule 1",
    "    - add a rule to NetworkPolicy shop/db that allows tcp 5432 from pod elsewhere/stray (198.18.0.2)",
  ]);
  assert.match(text, /^IPv6 2001:db8::2 -> 2001:db8::1: does NOT pass, for the same reasons$/m);
  assert.match(text, /no file has these namespaces, which have no labels then: elsewhere$/m);
});

void test("what makes pods stands for a pod of its name", async (t) => {
  for (const from of ["shop/api", "shop/report"])
    assert.equal((await run(t, [shop, policy], { from, to: "shop/db", traffic: "sql" })).well, true, from);
});

void test("without traffic every named port of the target is asked about, and an echo", async (t) => {
  const { text } = await run(t, [shop, policy], { from: "shop/api", to: "shop/db", output: "json" });
  const told = text.split("\n").map((line): unknown[] => {
    const { protocol, port, family, passes }: Record<string, unknown> = JSON.parse(line);
    return [protocol, port, family, passes];
  });
  assert.deepEqual(told, [
    ["tcp", 5432, 4, true],
    ["tcp", 5432, 6, true],
    ["icmp", undefined, 4, false],
    ["icmpv6", undefined, 6, false],
  ]);
});

void test("an expectation decides the exit code, whether traffic passes or not", async (t) => {
  const options = { from: "elsewhere/stray", to: "shop/db", traffic: "5432/tcp" };
  assert.equal((await run(t, [shop, policy], { ...options, expect: "deny" })).well, true);
  const wrong = await run(t, [shop, policy], { ...options, expect: "allow" });
  assert.equal(wrong.well, false);
  assert.match(wrong.text, /NOT as expected: elsewhere\/stray -> shop\/db over v4 does not pass/);
});

void test("questions: in order, each with its expectation or the common one; without any, answered is enough", async (t) => {
  const questions = "# the shop\nshop/api shop/db sql allow\n\nelsewhere/stray shop/db 5432/tcp deny\n";
  const { text, well } = await run(t, [shop, policy], { questions, output: "json" });
  assert.equal(well, true);
  assert.deepEqual(
    text.split("\n").map((line) => (JSON.parse(line) as { from: string }).from), // oxlint-disable-line typescript/no-unsafe-type-assertion -- our own output
    ["shop/api", "shop/api", "elsewhere/stray", "elsewhere/stray"],
  );
  assert.equal((await run(t, [shop, policy], { questions: questions.replace("deny", "allow") })).well, false);
  assert.equal((await run(t, [shop, policy], { questions: "elsewhere/stray shop/db icmp" })).well, true);
  assert.equal(
    (await run(t, [shop, policy], { questions: "elsewhere/stray shop/db icmp", expect: "allow" })).well,
    false,
  );
});

void test("an object that does not count in full is told", async (t) => {
  const odd = policy.replace("name: db,", "name: db, annotations: { fairlead.dev/mode: adit },");
  const { text } = await run(t, [shop, odd], { from: "shop/api", to: "shop/db", traffic: "5432" });
  assert.match(text, /^not all that was written counts:\n {2}NetworkPolicy shop\/db: metadata\.annotations\[/m);
});

void test("a policy of somebody else is told, since it judges nothing", async (t) => {
  const foreign = "{ apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: { name: x, namespace: shop } }";
  const { text, well } = await run(t, [shop, foreign], { from: "shop/api", to: "shop/db", traffic: "5432" });
  assert.equal(well, true);
  assert.match(
    text,
    /^ {2}CiliumNetworkPolicy shop\/x: .*1\.yaml, document 1: passed over, Fairlead does not read it$/m,
  );
});

void test("what cannot be read is refused, with its place", async (t) => {
  const end = { from: "shop/api", to: "shop/db", traffic: "80" };
  const cases: [readonly string[], Partial<WhyOptions>, RegExp][] = [
    [[shop, "a: [\n"], end, /1\.yaml, document 1: /],
    [
      [shop, policy.replace("podSelector: { matchLabels: { tier: db } }", "podSelector: 7")],
      end,
      /1\.yaml, document 1: NetworkPolicy shop\/db: spec\.podSelector: /,
    ],
    [
      [shop, shop],
      end,
      /1\.yaml, document 4, item 1: Pod shop\/db: .*0\.yaml, document 4, item 1 has a pod, or what makes pods, of that name, too; leave one of them out/,
    ],
    [[shop], { ...end, to: "shop/dc" }, /there is no pod "dc" in namespace "shop"/],
    [[shop], { ...end, files: ["/nowhere"] }, /there is no file or directory \/nowhere/],
    [[shop], { from: "shop/api" }, /name two ends/],
    [[shop], { ...end, questions: "shop/api shop/db 80" }, /not both/],
    [
      [shop],
      { questions: "shop/api shop/db" },
      /question 1: "shop\/api shop\/db": write FROM TO PORT\/PROTOCOL \[allow\|deny\]/,
    ],
    [[shop], { questions: "\nshop/api shop/dc 80" }, /question 2: there is no pod "dc"/],
  ];
  for (const [contents, options, message] of cases)
    await assert.rejects(run(t, contents, options), { name: "Fault", message });
});

void test("the agents' keys of policy count, from their configuration, and are named where they decide", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-why-keys-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const agentConfig = join(directory, "agent.yaml");
  const to = "169.254.169.254";
  const ask = (text: string): Promise<Run> => {
    writeFileSync(agentConfig, `node: { name: n1 }\npolicy: ${text}\n`);
    return run(t, [shop], { from: "shop/api", to, traffic: "80", agentConfig });
  };
  assert.equal((await ask("{}")).well, true);
  const closed = await ask("{ metadata: closed }");
  assert.equal(closed.well, false);
  assert.match(closed.text, /egress metadata +- +DENIED +policy\.metadata +policy\.metadata of the agents is closed/);
  await assert.rejects(ask("{ metadata: shut }"), /policy\.metadata: /);
});

void test("break-glass that lasts, and a source guard that is off, are told", async (t) => {
  const [from, until] = [-1, 1].map((hours) => new Date(Date.now() + hours * 3_600_000).toISOString());
  const annotations = `{ fairlead.dev/break-glass: "${from}/${until}", fairlead.dev/source-guard: per-pod }`;
  const broken = shop
    .replace("labels: { team: shop } }", `labels: { team: shop }, annotations: ${annotations} }`)
    .replace("labels: { tier: db } }", "labels: { tier: db }, annotations: { fairlead.dev/source-guard: off } }");
  const into = await run(t, [broken, policy], { from: "elsewhere/stray", to: "shop/db", traffic: "sql" });
  assert.equal(into.well, true);
  assert.match(
    into.text,
    /audited +NetworkPolicy shop\/db +no rule allows .*; it passes by break-glass of Namespace shop until/,
  );
  const out = await run(t, [broken, policy], { from: "shop/db", to: "shop/api", traffic: "80" });
  assert.match(out.text, /note: the source guard of pod shop\/db is off .*: it may send from any address/);
});
