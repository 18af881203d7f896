// Tests of tidy: each rule on a small file that breaks it and on one that only looks so, then all of them on the project.

import assert from "node:assert/strict";
import { dirname } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { Finding } from "./tidy/finding.ts";
import { functionsOf, importsOf, readSource } from "./tidy/source.ts";
import { type TextFile, findingLine, projectFiles, tidy, tidyProject } from "./tidy.ts";

const head = "// A fixture that owns one breach.\n";
const file = (path: string, body: string, first = head): TextFile => ({ path, text: first + body });
const rulesOf = (findings: readonly Finding[]): string[] => [...new Set(findings.map(({ rule }) => rule))];
const rulesIn = (path: string, body: string): string[] => rulesOf(tidy([file(path, body)], []));
const lines = (count: number, text = "x();\n"): string => text.repeat(count);

// Words that this file may not hold in one piece either.
const mark = ["TO", "DO"].join("");
const machinePath = ["", "home", "someone/file"].join("/");
const registry = ["registry", "npmjs", "org"].join(".");
const ignore = ["@ts", "ignore"].join("-");
const threads = ["worker", "threads"].join("_");
const timers = ["timers", "promises"].join("/");
const disable = ["oxlint", "disable-next-line"].join("-");

void test("each rule finds its breach and says which it is", () => {
  const breaches: [rule: string, path: string, body: string][] = [
    ["shell", "src/net/a.ts", `import { exec } from "node:child_process";\nexec("ls");\n`],
    ["shell", "lab/a.ts", `import { execSync as run } from "child_process";\nrun("ls");\n`],
    ["shell", "test/a.test.ts", `spawn("ls", [], { shell: true });\n`],
    ["environment", "src/agent/a.ts", `const level = process.env["LEVEL"];\n`],
    ["environment", "bench/a.ts", `const level = process.env.LEVEL;\n`],
    ["environment", "src/agent/a.ts", "const text = `${process.env.LEVEL}`;\n"],
    ["print", "src/cli/a.ts", `console.log("x");\n`],
    ["timers", "src/agent/a.ts", `setTimeout(() => {}, 10);\n`],
    ["timers", "src/agent/a.ts", `import { setInterval as every } from "node:${timers}";\nevery(1);\n`],
    ["threads", "src/agent/a.ts", `import { Worker } from "node:${threads}";\nnew Worker("x");\n`],
    ["require", "src/agent/a.ts", `import { createRequire } from "node:module";\n`],
    ["exit", "src/agent/a.ts", `process.exit(1);\n`],
    ["exit", "src/agent/a.test.ts", `process.exit(0);\n`],
    ["random", "lab/a.ts", `const n = Math.random();\n`],
    ["types", "src/net/a.ts", `const n = x as any;\n`],
    ["types", "src/net/a.ts", `const n = x as unknown as number;\n`],
    ["types", "src/net/a.ts", `// ${ignore}: because\nconst n: number = "x";\n`],
    ["lint", "src/net/a.ts", `// ${disable} no-empty\ntry {} catch {}\n`],
    ["focus", "src/net/a.test.ts", `test.only("x", () => {});\n`],
    ["focus", "src/net/a.test.ts", `test("x", { skip: true }, () => {});\n`],
    ["focus", "src/net/a.test.ts", `test("x", (t) => { t.todo("later"); });\n`],
    ["sleep", "src/net/a.test.ts", `await sleep(100);\n`],
    ["sleep", "src/net/a.test.ts", `await new Promise((done) => setTimeout(done, 100));\n`],
    ["sleep", "src/net/a.test.ts", `import { setTimeout as wait } from "node:${timers}";\n`],
    ["leftover", "src/net/a.ts", `// ${mark}: the rest\n`],
    ["leftover", "docs/a.md", `${mark}: the rest\n`],
    ["machine-path", "src/net/a.ts", `const path = "${machinePath}";\n`],
    ["machine-path", "docs/a.md", `See ${machinePath} for it.\n`],
    ["machine-path", "tools/a.sh", `cat ${machinePath}\n`],
    ["registry-host", "docs/a.md", `Get it from https://${registry}/fairlead.\n`],
    ["registry-host", "package-lock.json", `{ "resolved": "https://${registry}/x.tgz" }\n`],
    ["barrel", "src/net/a.ts", `export * from "./ip.ts";\nconst n = 1;\n`],
    ["barrel", "src/net/a.ts", `export { parseIp } from "./ip.ts";\nexport type { Ip } from "./ip.ts";\n`],
    ["name", "src/net/ipAddress.ts", ""],
    ["name", "native/addonCalls.c", ""],
    ["name", "tools/tidy_rules.sh", ""],
    ["name", "src/net/utils.ts", ""],
    ["name", "src/helpers/a.ts", ""],
    ["depth", "src/a.ts", ""],
    ["depth", "src/kernel/netlink/codec/a.ts", ""],
    ["file-length", "src/net/a.ts", lines(400)],
    ["function-length", "src/net/a.ts", `function f(): void {\n${lines(69)}}\n`],
  ];
  for (const [rule, path, body] of breaches) {
    assert.ok(rulesIn(path, body).includes(rule), `${rule} not found in ${path}: ${body.slice(0, 80)}`);
  }
});

void test("what only looks like a breach is none", () => {
  const innocent: [path: string, body: string][] = [
    ["src/net/a.ts", `const found = /a(b)/.exec(text);\n`],
    ["src/net/a.ts", `import { execFile } from "node:child_process";\nexecFile("ls", [], { shell: false });\n`],
    ["src/net/a.ts", `// process.env, console.log and Math.random are explained here, as any reader sees.\n`],
    ["src/net/a.ts", `const text = "process.env console.log() Math.random() as any";\n`],
    ["src/net/a.ts", "const text = `process.env ${name} as any`;\n"],
    ["src/net/a.ts", `const pattern = /process.env|"|as any/;\nconst half = n / 2;\n`],
    ["src/base/config.ts", `const level = process.env["LEVEL"];\n`],
    ["src/cli/a.ts", `process.exit(1);\n`],
    ["src/net/a.test.ts", `spawn("x", [], { env: { ...process.env } });\n`],
    ["src/net/a.test.ts", `import { createRequire } from "node:module";\n`],
    ["src/net/a.ts", `cursor.skip(1);\nawait sleep(1);\n`],
    ["lab/a.ts", `import { setTimeout as wait } from "node:${timers}";\n`],
    ["src/main.ts", `process.exit(1);\n`],
    ["src/net/a.ts", `socket.setTimeout(100);\n`],
    ["src/net/a.ts", `// ${disable} no-empty -- the file may be gone\ntry {} catch {}\n`],
    ["lab/a.ts", `console.log("the lab talks to people");\n`],
    ["src/net/a.test.ts", `const deadline = setTimeout(() => fail("too late"), 100);\n`],
    ["src/net/a.test.ts", `test("x", { skip: !isRoot }, () => {});\n`],
    ["docs/a.md", `The folder src/home/ and https://example.org/work/it are fine; so is a lower-case todo.\n`],
    ["src/net/a.ts", `export { parseIp } from "./ip.ts";\nexport const two = 2;\n`],
    ["src/kernel/netlink/verbs.kernel.test.ts", ""],
    ["native/addon_calls.c", ""],
    ["src/kernel/a.test.ts", `const { Worker } = require("node:${threads}");\n`],
    ["test/store.contract.ts", ""],
    ["docs/README.md", ""],
    ["src/net/a.ts", lines(399)],
    ["src/net/a.ts", `function f(): void {\n${lines(68)}}\n`],
  ];
  for (const [path, body] of innocent) {
    const findings = tidy([file(path, body)], []);
    assert.deepEqual(findings.map(findingLine), [], `${path}: ${body.slice(0, 80)}`);
  }
});

void test("the first line of every kind of file says what it owns", () => {
  const good: TextFile[] = [
    file("src/net/a.ts", "", "// What this file owns.\n"),
    file("native/a.c", "", "/* What this file here owns. */\n"),
    file("native/a.h", "", "// What this file here owns.\n"),
    file("tools/a.sh", "", "#!/bin/sh\n# What this file here owns.\n"),
    file("bin/fairlead", "", "#!/bin/sh\n# What this file here owns.\n"),
    file("native/Makefile", "", "# What this file here owns.\n"),
    file("lab/scenarios/routes/a.txt", "", "# What this scenario here shows.\n"),
    file("package.json", "{}\n", ""),
  ];
  assert.deepEqual(tidy(good, []), []);
  const bad: TextFile[] = [
    file("lab/scenarios/routes/a.txt", "pod a\n", ""),
    file("native/Makefile", "all:\n", ""),
    file("native/a.c", "#include <stdio.h>\n", ""),
    file("src/net/a.ts", "import x;\n// too late to say it\n", ""),
    file("src/net/b.ts", "x();\n", "// Too short.\n"),
    file("tools/a.sh", "set -e\n", "#!/bin/sh\n"),
  ];
  assert.deepEqual(
    tidy(bad, []).map(({ path, line, rule }) => `${path}:${line}: ${rule}`),
    bad.map(({ path }) => `${path}:1: first-line`),
  );
});

void test("arrows point down: every pair of rooms", () => {
  const rooms = ["base", "net", "cni", "ipam", "policy", "kernel", "cloud", "kube", "agent", "controller", "cli"];
  const level: Record<string, number> = { base: 0, net: 1, cni: 2, ipam: 2, policy: 2, kernel: 3, cloud: 3, kube: 3 };
  for (const from of rooms) {
    for (const to of rooms) {
      const found = rulesIn(`src/${from}/a.ts`, `import { x } from "../${to}/b.ts";\n`);
      const allowed = from === to || (level[to] ?? 4) < (level[from] ?? 4);
      assert.deepEqual(found, allowed ? [] : ["arrows"], `${from} -> ${to}`);
    }
  }
});

void test("arrows beside the rooms", () => {
  const cases: [path: string, statement: string, allowed: boolean][] = [
    ["src/main.ts", `import { x } from "./agent/a.ts";`, true],
    ["src/main.ts", `const lab = await import("../lab/a.ts");`, true],
    ["src/main.ts", `import { x } from "./kernel/a.ts";`, false],
    ["src/agent/a.ts", `import { x } from "../main.ts";`, false],
    ["src/agent/a.ts", `import { x } from "../../lab/a.ts";`, false],
    ["lab/a.ts", `import { x } from "../src/base/a.ts";`, true],
    ["lab/node/a.ts", `import { x } from "../../src/net/a.ts";`, true],
    ["lab/a.ts", `import { x } from "../src/kernel/a.ts";`, false],
    ["lab/a.ts", `await import("../src/kernel/a.ts");`, false],
    ["lab/a.ts", `import "../src/agent/a.ts";`, false],
    ["lab/a.ts", `export { x } from "../src/agent/a.ts";\nconst n = 1;`, false],
    ["lab/a.ts", `import type { X } from "../src/kernel/a.ts";`, false],
    ["src/policy/a.ts", `import type { Pod } from "../kube/a.ts";`, true],
    ["src/policy/a.ts", `import { type Pod } from "../kube/a.ts";`, true],
    ["src/policy/a.ts", `import { type Pod, list } from "../kube/a.ts";`, false],
    ["src/ipam/a.ts", `import type { Pod } from "../kube/a.ts";`, false],
    ["src/net/a.ts", `import { x } from "../../test/a.ts";`, false],
    ["src/net/a.ts", `import { x } from "./b.test.ts";`, false],
    ["src/net/a.test.ts", `import { x } from "../agent/a.ts";`, true],
    ["test/a.ts", `import { x } from "../src/kernel/a.ts";`, true],
    ["src/strange/a.ts", `import { x } from "../base/a.ts";`, false],
    ["bench/a.ts", `import { x } from "../src/agent/a.ts";`, false],
    ["src/net/a.ts", `const text = 'import { x } from "../agent/a.ts"';`, true],
    ["src/net/a.ts", `import {\n  x,\n} from "../agent/a.ts";`, false],
  ];
  for (const [path, statement, allowed] of cases) {
    assert.deepEqual(rulesIn(path, `${statement}\n`), allowed ? [] : ["arrows"], `${path}: ${statement}`);
  }
});

void test("a circle of imports is named once, whatever its length", () => {
  const circle = (...names: string[]): TextFile[] =>
    names.map((name, index) =>
      file(`src/net/${name}.ts`, `import { x } from "./${names[(index + 1) % names.length]}.ts";\n`),
    );
  for (const names of [["a"], ["a", "b"], ["a", "b", "c"]]) {
    const findings = tidy(circle(...names), []);
    assert.equal(findings.length, 1, names.join());
    assert.match(findings.map(findingLine).join(), /cycle: src\/net\/a\.ts -> .*src\/net\/a\.ts;/);
  }
  const diamond = [
    file("src/net/a.ts", `import { x } from "./b.ts";\nimport { y } from "./c.ts";\n`),
    file("src/net/b.ts", `import { z } from "./d.ts";\n`),
    file("src/net/c.ts", `import { z } from "./d.ts";\n`),
    file("src/net/d.ts", "export const z = 1;\n"),
  ];
  assert.deepEqual(tidy(diamond, []), []);
});

void test("the length of every form of function is counted, and only of functions", () => {
  const body = lines(3);
  const forms = [
    `function f(a: string): { a: number; b: string } {\n${body}}\n`,
    `async function f<T extends { a: number }>(a: T): Promise<T> {\n${body}}\n`,
    `const f = (a: string): string => {\n${body}};\n`,
    `const o = {\n  f(a: string) {\n${lines(2)}}\n};\n`,
    `class C {\n  constructor(a: string) {\n${lines(2)}}\n}\n`,
    `list.map((a) => {\n${body}});\n`,
    `function f(a = "{", b = /\\{/): asserts a is string {\n${body}}\n`,
  ];
  for (const form of forms) {
    assert.equal(functionsOf(readSource("a.ts", form)).length, 1, form);
  }
  const none = [
    `if (a) {\n${body}} else if (b) {\n${body}} else {\n${body}}\n`,
    `for await (const x of f()) {\n${body}}\n`,
    `switch (f(x)) {\n  case f(y): {\n${body}}\n}\n`,
    `try {\n${body}} catch (e) {\n${body}}\n`,
    `const n = a ? f(x) : { a: 1 };\ninterface A {\n  f(a: string): { a: number };\n}\n`,
    `describe("x", () => {\n${body}});\n`,
  ];
  for (const form of none) assert.deepEqual(functionsOf(readSource("a.ts", form)), [], form);
});

void test("a holder of functions is judged by its own lines, and by twice that in all", () => {
  const method = (name: string): string => `  const ${name} = (): void => {\n${lines(30)}  };\n`;
  const holder = (count: number): string =>
    `function open(): void {\n${Array.from({ length: count }, (_, index) => method(`m${index}`)).join("")}}\n`;
  assert.deepEqual(rulesIn("src/net/a.ts", holder(4)), []);
  assert.deepEqual(rulesIn("src/net/a.ts", holder(5)), ["function-length"]);
  const exactly = (count: number): string =>
    `function open(): void {\n${method("a")}${method("b")}${method("c")}${method("d")}${lines(count)}}\n`;
  assert.deepEqual(rulesIn("src/net/a.ts", exactly(140 - 4 * 32 - 2)), []);
  assert.deepEqual(rulesIn("src/net/a.ts", exactly(140 - 4 * 32 - 1)), ["function-length"]);
  // A callback has no name: it hides nothing of the function that it stands in.
  const callbacks = `function open(): void {\n${`  list.map((a) => {\n${lines(30)}  });\n`.repeat(3)}}\n`;
  assert.deepEqual(rulesIn("src/net/a.ts", callbacks), ["function-length"]);
});

void test("the scanner keeps every line where it is", () => {
  const text =
    'const a = `x ${`y ${1 + `z`} }`} // no comment`; // comment\nconst b = /[/"]/g; /* two\nlines */ const c = a / b / 1;\n';
  const { statements, code } = readSource("a.ts", text);
  assert.equal(code.length, text.length);
  assert.equal(statements.length, text.length);
  assert.equal(code.split("\n").length, text.split("\n").length);
  assert.match(statements, /\/\/ no comment/);
  assert.doesNotMatch(statements, /\/\/ comment|two/);
  assert.match(code, /const c = a \/ b \/ 1;/);
  assert.match(code, /\{1 \+ ` `\}/);
});

void test("imports are read in every form", () => {
  const text = [
    'import a, { b } from "./a.ts";',
    'import * as c from "./c.ts";',
    'import type { D } from "./d.ts";',
    'export type { E } from "./e.ts";',
    'import "./f.ts";',
    'const g = await import("./g.ts");',
    '// import h from "./h.ts";',
  ].join("\n");
  assert.deepEqual(
    importsOf(readSource("a.ts", text)).map(({ specifier, typeOnly, line }) => [specifier, typeOnly, line]),
    ["a", "c", "d", "e", "f", "g"].map((name, index) => [`./${name}.ts`, name === "d" || name === "e", index + 1]),
  );
});

void test("an exception excuses its file and rule, and must be needed", () => {
  const files = [file("src/agent/a.ts", "setTimeout(f, 1);\nprocess.exit(1);\n")];
  const exception = { rule: "timers", path: "src/agent/a.ts", why: "a test" };
  assert.deepEqual(rulesOf(tidyProject(files, [exception])), ["exit"]);
  assert.deepEqual(rulesOf(tidyProject(files, [exception, { ...exception, rule: "random" }])), ["exit", "stale"]);
  assert.deepEqual(rulesOf(tidyProject(files, [exception, { ...exception, path: "src/agent/b.ts" }])), [
    "exit",
    "stale",
  ]);
});

void test("the project keeps its own rules", () => {
  const files = projectFiles(dirname(dirname(fileURLToPath(import.meta.url))));
  assert.ok(files.length > 20, "the walk found the project");
  assert.equal(tidyProject(files).map(findingLine).join("\n"), "");
});
