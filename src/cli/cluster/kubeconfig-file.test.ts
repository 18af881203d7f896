// Which file and context a person means, and which of node and cluster `status` is about.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { isFault } from "../../base/fault.ts";
import { chooseSubject, wordOnOther } from "../subject.ts";
import { chooseContext, kubeconfigFiles } from "./kubeconfig-file.ts";

const config = (current: string, ...names: string[]): string =>
  JSON.stringify({ "current-context": current, contexts: names.map((name) => ({ name, context: {} })) });

function home(t: TestContext, files: Record<string, string>): string {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-cli-"));
  t.after(() => rmSync(directory, { recursive: true }));
  mkdirSync(join(directory, ".kube"));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
  return directory;
}

void test("the flag goes before KUBECONFIG, and that before the usual place; files that are not there are passed over", (t) => {
  const HOME = home(t, { ".kube/config": "", one: "", two: "" });
  const files = (flag: string | undefined, KUBECONFIG: string | undefined): string[] =>
    kubeconfigFiles(flag === undefined ? {} : { kubeconfig: flag }, { KUBECONFIG, HOME });
  const at = (name: string): string => join(HOME, name);
  assert.deepEqual(files("/nowhere", at("one")), ["/nowhere"]);
  assert.deepEqual(files(undefined, `${at("one")}::${at("none")}:${at("two")}`), [at("one"), at("two")]);
  assert.deepEqual(files(undefined, ""), [at(".kube/config")]);
  assert.deepEqual(files(undefined, at("none")), []);
  assert.deepEqual(kubeconfigFiles({}, { KUBECONFIG: undefined, HOME: undefined }), []);
});

void test("the first current-context of several files counts, wherever it stands, and a flag before it", (t) => {
  const HOME = home(t, { one: config("", "a"), two: config("b", "a", "c"), three: config("a", "b") });
  const KUBECONFIG = ["one", "two", "three"].map((name) => join(HOME, name)).join(":");
  const choose = (context?: string): string => {
    const chosen = chooseContext(context === undefined ? {} : { context }, { KUBECONFIG, HOME });
    return `${chosen.context} of ${chosen.file.slice(HOME.length + 1)}`;
  };
  assert.equal(choose(), "b of three");
  assert.equal(choose("a"), "a of one");
  assert.equal(choose("c"), "c of two");
});

void test("what is missing is said with where it was looked for", (t) => {
  const HOME = home(t, { empty: "", one: config("gone", "a", "b"), bad: "{" });
  const fails = (code: "not-found" | "bad-config", words: RegExp, flags: object, KUBECONFIG?: string): void =>
    assert.throws(
      () => chooseContext(flags, { KUBECONFIG, HOME }),
      (error) => isFault(error, code) && words.test(error.message),
    );
  fails("not-found", /no cluster is known here: .*\.kube\/config is not there; .*--kubeconfig/, {});
  fails("not-found", /KUBECONFIG names \/nowhere, and nothing is there/, {}, "/nowhere");
  fails("bad-config", /\/nowhere cannot be read/, { kubeconfig: "/nowhere" });
  fails("bad-config", /empty has no current-context; .*--context \(it has none\)/, { kubeconfig: join(HOME, "empty") });
  fails("bad-config", /no context "gone"; it has a, b/, {}, join(HOME, "one"));
  fails("bad-config", /no context "x"; it has a, b/, { context: "x" }, join(HOME, "one"));
  fails("bad-config", /bad is not valid YAML/, { kubeconfig: join(HOME, "bad") });
});

void test("status is about what a flag says; else about the cluster where one is known, else about this node", () => {
  const nothing = (): never => assert.fail("a flag decides, and nothing is looked for");
  assert.equal(chooseSubject({ node: true }, nothing), "node");
  assert.equal(chooseSubject({ socket: "/s" }, nothing), "node");
  for (const flags of [{ cluster: true }, { kubeconfig: "f" }, { context: "c" }])
    assert.equal(chooseSubject(flags, nothing), "cluster");
  assert.equal(
    chooseSubject({}, () => true),
    "cluster",
  );
  assert.equal(
    chooseSubject({}, () => false),
    "node",
  );
  for (const flags of [
    { node: true, cluster: true },
    { socket: "/s", context: "c" },
  ])
    assert.throws(
      () => chooseSubject(flags),
      (error) => isFault(error, "bad-config") && /give one of them/.test(error.message),
    );
});

void test("who named neither is told of the other: the agent that is here too, or that no cluster is known", (t) => {
  const socket = join(home(t, { socket: "" }), "socket");
  assert.match(wordOnOther({}, "cluster", socket) ?? "", /fairlead status --node/);
  assert.equal(wordOnOther({}, "cluster", `${socket}-not`), undefined);
  assert.match(wordOnOther({}, "node", socket) ?? "", /no cluster is known here either/);
  for (const flags of [{ node: true }, { cluster: true }, { socket }, { context: "c" }])
    assert.equal(wordOnOther(flags, "cluster", socket), undefined);
});
