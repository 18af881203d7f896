// `fairlead why` on files: what it prints, what its exit code follows from, and what it refuses.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
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
  told: readonly string[];
  exitCode: number;
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
  const { text, exitCode } = await run(t, [shop, policy], { from: "elsewhere/stray", to: "shop/db", traffic: "sql" });
  assert.equal(exitCode, 1);
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
    assert.equal((await run(t, [shop, policy], { from, to: "shop/db", traffic: "sql" })).exitCode, 0, from);
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
  assert.equal((await run(t, [shop, policy], { ...options, expect: "deny" })).exitCode, 0);
  const wrong = await run(t, [shop, policy], { ...options, expect: "allow" });
  assert.equal(wrong.exitCode, 1);
  assert.match(
    wrong.text,
    /^NOT as expected: elsewhere\/stray -> shop\/db, tcp 5432 over IPv4: expected allow, got deny$/m,
  );
});

void test("questions: in order, each with its expectation or the common one; without any, answered is enough", async (t) => {
  const questions = "# the shop\nshop/api shop/db sql allow\n\nelsewhere/stray shop/db 5432/tcp deny\n";
  const { text, exitCode } = await run(t, [shop, policy], { questions, output: "json" });
  assert.equal(exitCode, 0);
  assert.deepEqual(
    text.split("\n").map((line) => (JSON.parse(line) as { from: string }).from), // oxlint-disable-line typescript/no-unsafe-type-assertion -- our own output
    ["shop/api", "shop/api", "elsewhere/stray", "elsewhere/stray"],
  );
  assert.equal((await run(t, [shop, policy], { questions: questions.replace("deny", "allow") })).exitCode, 1);
  assert.equal((await run(t, [shop, policy], { questions: "elsewhere/stray shop/db icmp" })).exitCode, 0);
  assert.equal(
    (await run(t, [shop, policy], { questions: "elsewhere/stray shop/db icmp", expect: "allow" })).exitCode,
    1,
  );
});

void test("a file that asks nothing is no answer: nothing would have been tested", async (t) => {
  for (const questions of ["", "\n \n", "# shop/api shop/db sql allow\n"])
    await assert.rejects(run(t, [shop, policy], { questions }), {
      name: "Fault",
      message: /^no question in \/.*\/questions; write FROM TO PORT\/PROTOCOL \[allow\|deny\], one a line$/,
    });
  const open = (): Promise<never> => Promise.reject(new Error("no cluster is asked"));
  await assert.rejects(showWhy(open, { files: [], output: "table", questions: "/nowhere" }), {
    name: "Fault",
    message:
      "the file of questions /nowhere cannot be read (ENOENT: no such file or directory); name one, or - for stdin",
  });
});

void test("questions: people are told those that are not as expected alone, with their lines, and how many they are", async (t) => {
  const questions = `shop/api shop/db sql allow # the shop
shop/api shop/db 22 allow #ssh

elsewhere/stray shop/db sql deny`;
  const { text, exitCode } = await run(t, [shop, policy], { questions });
  assert.equal(exitCode, 1);
  assert.deepEqual(
    text.split("\n").filter((line) => / -> \S+, /.test(line)),
    [
      "shop/api -> shop/db, tcp 22",
      "NOT as expected: line 2: shop/api -> shop/db, tcp 22 over IPv4: expected allow, got deny",
      "NOT as expected: line 2: shop/api -> shop/db, tcp 22 over IPv6: expected allow, got deny",
    ],
  );
  assert.equal(text.split("\n").at(-1), "1 of 3 questions not as expected");
  const free = await run(t, [shop, policy], { questions: "shop/api shop/db 22\nshop/api shop/db sql deny" });
  assert.match(free.text, /^shop\/api -> shop\/db, tcp 22$/m);
  assert.equal(free.text.split("\n").at(-1), "1 of 1 questions not as expected; of 1 nothing was expected");
});

void test("questions: one that cannot be answered is told with its line, and the others are answered", async (t) => {
  const questions =
    "shop/api shop/db\nshop/api shop/dc sql allow\nshop/api shop/db sql deny\nshop/api shop/db 22 maybe";
  for (const output of ["table", "json"] as const) {
    const { text, told, exitCode } = await run(t, [shop, policy], { questions, output });
    assert.equal(exitCode, 2);
    assert.deepEqual(
      told.map((line) => line.slice(0, 48)),
      [
        'line 1: "shop/api shop/db": write FROM TO PORT/PROTOCOL [allow|deny]',
        'line 2: there is no pod "dc" in namespace "shop"; kubectl get pods',
        'line 4: "shop/api shop/db 22 maybe": write FROM TO PORT/PROTOCOL',
      ].map((line) => line.slice(0, 48)),
    );
    if (output === "json") assert.equal(text.split("\n").length, 2);
    else assert.equal(text.split("\n").at(-1), "1 of 1 questions not as expected; 3 could not be answered");
  }
});

void test("a pod on the network of its node is told to need one, and keeps no other question from its answer", async (t) => {
  const agent = (spec: string): string =>
    `---\napiVersion: v1\nkind: Pod\nmetadata: { name: agent, namespace: shop }\nspec: { hostNetwork: true, containers: []${spec} }\n`;
  const node = (status: string): string => `---\napiVersion: v1\nkind: Node\nmetadata: { name: n1 }\n${status}`;
  const questions = "shop/api shop/agent 80 allow\nshop/agent shop/api 80 allow\nshop/api shop/db sql allow";
  const said = "pod shop/agent is on its node's network, and no file has";
  for (const [more, told] of [
    [agent(""), `${said} that node; give spec.nodeName and a Node, with its status.addresses`],
    [agent(", nodeName: n1"), `${said} Node n1; give it, with its status.addresses`],
    [agent(", nodeName: n1") + node(""), "node n1 has no address; give its Node status.addresses"],
  ] as const) {
    const asked = await run(t, [shop + more, policy], { questions, output: "json" });
    assert.deepEqual([asked.exitCode, asked.told], [2, [`line 1: ${told}`, `line 2: ${told}`]]);
    assert.equal(asked.text.split("\n").length, 2);
  }
  const known = agent(", nodeName: n1") + node("status: { addresses: [{ type: InternalIP, address: 192.0.2.9 }] }\n");
  assert.equal((await run(t, [shop + known, policy], { questions })).exitCode, 0);
});

void test("the address of a service in the files is refused, with its pods: nobody judges it, and it would pass", async (t) => {
  const service = (spec: string): string =>
    `---\napiVersion: v1\nkind: Service\nmetadata: { name: sql, namespace: shop }\nspec: { ${spec} }\n`;
  const said = /^10\.96\.0\.7 is the address of Service shop\/sql, which is no place; ask for one of its pods/;
  for (const [spec, pods] of [
    ["clusterIP: 10.96.0.7, selector: { tier: api }", /its pods: shop\/api, shop\/report$/],
    ['clusterIPs: [10.96.0.7, "fd00::7"]', /its pods$/],
  ] as const) {
    const asked = run(t, [shop + service(spec)], {
      from: "shop/api",
      to: "10.96.0.7",
      traffic: "5432",
      expect: "allow",
    });
    await assert.rejects(asked, (error: Error) => said.test(error.message) && pods.test(error.message));
  }
  const headless = { from: "shop/api", to: "10.96.0.7", traffic: "5432" };
  assert.equal((await run(t, [shop + service("clusterIP: None")], headless)).exitCode, 0);
});

void test("programs are told of each answer which line asked, what was expected, and whether it is so", async (t) => {
  const questions = "\nshop/api shop/db sql allow\nshop/api shop/db 22 allow\nshop/api shop/db 22";
  const { text } = await run(t, [shop, policy], { questions, output: "json" });
  const told = text.split("\n").map((line): unknown[] => {
    const { line: number, family, expected, asExpected }: Record<string, unknown> = JSON.parse(line);
    return [number, family, expected, asExpected];
  });
  assert.deepEqual(told, [
    [2, 4, "allow", true],
    [2, 6, "allow", true],
    [3, 4, "allow", false],
    [3, 6, "allow", false],
    [4, 4, undefined, undefined],
    [4, 6, undefined, undefined],
  ]);
});

void test("of files, what does not count fails whatever was expected, and programs are told of it beside the answers", async (t) => {
  const odd = policy.replace("name: db,", "name: db, annotations: { fairlead.dev/mode: adit },");
  const told =
    'not all that was written counts: NetworkPolicy shop/db: metadata.annotations["fairlead.dev/mode"]: "adit" is neither audit nor enforce; the policy is enforced';
  const question = { from: "shop/api", to: "shop/db", traffic: "22" };
  const questions = "shop/api shop/db 22 deny";
  for (const asked of [{ ...question, expect: "deny" }, { questions }] as const) {
    const programs = await run(t, [shop, odd], { ...asked, output: "json" });
    assert.deepEqual([programs.exitCode, programs.told, programs.text.split("\n").length], [1, [told], 2]);
    assert.equal((await run(t, [shop, policy], { ...asked, expect: "allow" })).told.length, 0);
  }
  const people = await run(t, [shop, odd], { questions });
  assert.deepEqual([people.exitCode, people.told], [1, []]);
  assert.equal(people.text.split("\n").at(-1), "0 of 1 questions not as expected; not all that was written counts");
  assert.equal((await run(t, [shop, odd], { questions: "shop/api shop/db 22" })).exitCode, 0, "nothing was expected");
});

void test("an object that does not count in full is told", async (t) => {
  const odd = policy.replace("name: db,", "name: db, annotations: { fairlead.dev/mode: adit },");
  const { text } = await run(t, [shop, odd], { from: "shop/api", to: "shop/db", traffic: "5432" });
  assert.match(text, /^not all that was written counts:\n {2}NetworkPolicy shop\/db: metadata\.annotations\[/m);
});

void test("a policy of somebody else is told, since it judges nothing", async (t) => {
  const foreign = "{ apiVersion: cilium.io/v2, kind: CiliumNetworkPolicy, metadata: { name: x, namespace: shop } }";
  const asked = { from: "shop/api", to: "shop/db", traffic: "5432", expect: "allow" } as const;
  const { text, exitCode } = await run(t, [shop, foreign], asked);
  assert.equal(exitCode, 0);
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
    [[], end, /^\/\S+ has no \*\.yaml, \*\.yml or \*\.json$/],
    [
      [policy, policy.replace("name: db,", "name: dc,")],
      end,
      /^\/\S+: 2 objects read, no pods among them; name files that have some/,
    ],
    [[shop], { ...end, files: ["/nowhere"] }, /there is no file or directory \/nowhere/],
    [[shop], { from: "shop/api" }, /name two ends/],
    [[shop], { ...end, questions: "shop/api shop/db 80" }, /not both/],
    [
      [shop],
      { ...end, agentConfig: "/nowhere" },
      /the agents' configuration \/nowhere cannot be read \(ENOENT: [a-z ]+\); name/,
    ],
  ];
  for (const [contents, options, message] of cases)
    await assert.rejects(run(t, contents, options), { name: "Fault", message });
});

void test("the program ends with 1 where it does not pass, and with 2 where that could not be answered", (t) => {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-why-codes-"));
  t.after(() => rmSync(directory, { recursive: true }));
  writeFileSync(join(directory, "shop.yaml"), `${shop}---${policy}`);
  const codeOf = (...words: string[]): number | null =>
    spawnSync(process.execPath, ["src/main.ts", "why", "--from-files", directory, ...words]).status;
  assert.equal(codeOf("shop/api", "shop/db", "sql"), 0);
  assert.equal(codeOf("elsewhere/stray", "shop/db", "sql"), 1);
  for (const words of [["shop/api", "shop/dc", "sql"], ["shop/api"], ["--no-such-flag"], ["--questions", directory]])
    assert.equal(codeOf(...words), 2, words.join(" "));
  assert.equal(codeOf("--help"), 0);
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
  assert.equal((await ask("{}")).exitCode, 0);
  const closed = await ask("{ metadata: closed }");
  assert.equal(closed.exitCode, 1);
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
  assert.equal(into.exitCode, 0);
  assert.match(
    into.text,
    /audited +NetworkPolicy shop\/db +no rule allows .*; it passes by break-glass of Namespace shop until/,
  );
  const out = await run(t, [broken, policy], { from: "shop/db", to: "shop/api", traffic: "80" });
  assert.match(out.text, /note: the source guard of pod shop\/db is off .*: it may send from any address/);
});
