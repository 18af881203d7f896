// Credentials by a program, as a kubeconfig of a cloud has it; and that the library for it stays out of all else.

import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { isFault } from "../../base/fault.ts";
import { openCluster } from "./open.ts";
import { borrowedAddress } from "./borrowed.ts";

const credential = {
  apiVersion: "client.authentication.k8s.io/v1",
  kind: "ExecCredential",
  status: { token: "t0k3n" },
};

/** A kubeconfig whose user gets credentials from `cat`: of a file with `says`, or of none. */
function kubeconfig(t: TestContext, says: object | undefined, cluster: object = {}): string {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-cli-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const [file, words] = [join(directory, "config"), join(directory, "words")];
  if (says !== undefined) writeFileSync(words, JSON.stringify(says));
  const exec = { apiVersion: credential.apiVersion, command: "cat", args: [words], interactiveMode: "Never" };
  const text = {
    apiVersion: "v1",
    kind: "Config",
    "current-context": "c",
    contexts: [{ name: "c", context: { cluster: "k", user: "u" } }],
    clusters: [{ name: "k", cluster: { server: "https://127.0.0.1:6443", ...cluster } }],
    users: [{ name: "u", user: { exec } }],
  };
  writeFileSync(file, JSON.stringify(text));
  return file;
}

void test("a token comes from the program that the kubeconfig names", async (t) => {
  const ca = Buffer.from("PEM").toString("base64");
  const file = kubeconfig(t, credential, { "certificate-authority-data": ca, "tls-server-name": "api" });
  const address = await borrowedAddress({ file, context: "c" });
  assert.deepEqual(address, {
    server: "https://127.0.0.1:6443",
    ca: { text: "PEM" },
    serverName: "api",
    token: { text: "t0k3n" },
  });
  const { kube, place } = await openCluster({ kubeconfig: file }, "0.0.0");
  assert.deepEqual(place, { server: "https://127.0.0.1:6443", context: "c", kubeconfig: file });
  await kube.close();
});

void test("a program that fails, or gives nothing, is named with its words", async (t) => {
  const unauthorized = (words: RegExp) => (error: unknown) =>
    isFault(error, "kube-unauthorized") && words.test(`${error.message} ${String(error.cause)}`);
  const failing = kubeconfig(t, undefined);
  await assert.rejects(
    openCluster({ kubeconfig: failing }, "0.0.0"),
    unauthorized(/context c in .*words: No such file/s),
  );
  const silent = kubeconfig(t, { ...credential, status: {} });
  await assert.rejects(openCluster({ kubeconfig: silent }, "0.0.0"), unauthorized(/neither a token nor a certificate/));
});

void test("what the library could follow and we cannot is still refused", async (t) => {
  const file = kubeconfig(t, credential, { "proxy-url": "http://127.0.0.1:1" });
  await assert.rejects(openCluster({ kubeconfig: file }, "0.0.0"), /"proxy-url" is not followed here/);
});

void test("nothing else loads the library, and what is installed to run does not hold it", () => {
  const name = "@kubernetes/client-node";
  const sources = readdirSync("src", { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !file.endsWith(".test.ts"))
    .filter((file) => readFileSync(join("src", file), "utf8").includes(`"${name}"`));
  assert.deepEqual(sources, ["cli/cluster/library.ts"]);
  const lock: { packages: Record<string, { dev?: boolean }> } = JSON.parse(readFileSync("package-lock.json", "utf8"));
  assert.equal(lock.packages[`node_modules/${name}`]?.dev, true);
});
