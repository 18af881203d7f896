// Kubeconfig files: what is followed, and that everything else is refused by its name.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fromKubeconfig } from "./kubeconfig.ts";

function write(t: TestContext, { cluster = "server: https://a:6443", user = "token: abc" } = {}): string {
  const directory = mkdtempSync(join(tmpdir(), "fltest-kubeconfig-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const file = join(directory, "config");
  writeFileSync(
    file,
    `apiVersion: v1
kind: Config
preferences: {}
current-context: main
contexts:
  - {name: main, context: {cluster: c1, user: u1, namespace: default}}
  - {name: nobody, context: {cluster: c1}}
  - {name: lost, context: {cluster: gone, user: u1}}
clusters:
  - name: c1
    cluster: {${cluster}}
users:
  - name: u1
    user: {${user}}
`,
  );
  return file;
}

test("server, authority, certificates and tokens are read, paths from the file's own directory", (t) => {
  const data = Buffer.from("PEM").toString("base64");
  const inline = write(t, {
    cluster: `server: "https://a:6443", certificate-authority-data: ${data}, tls-server-name: kube, extensions: []`,
    user: `client-certificate-data: ${data}, client-key-data: ${data}, token: abc`,
  });
  assert.deepEqual(fromKubeconfig({ file: inline }), {
    server: "https://a:6443",
    ca: { text: "PEM" },
    serverName: "kube",
    clientCertificate: { certificate: { text: "PEM" }, key: { text: "PEM" } },
    token: { text: "abc" },
  });
  const files = write(t, {
    cluster: 'server: "https://a:6443", certificate-authority: pki/ca.crt',
    user: "client-certificate: /etc/c.crt, client-key: c.key, token: old, tokenFile: token",
  });
  const beside = join(files, "..");
  assert.deepEqual(fromKubeconfig({ file: files, server: "https://b" }), {
    server: "https://b",
    ca: { file: join(beside, "pki/ca.crt") },
    clientCertificate: { certificate: { file: "/etc/c.crt" }, key: { file: join(beside, "c.key") } },
    token: { file: join(beside, "token") },
  });
  assert.deepEqual(fromKubeconfig({ file: files, context: "nobody" }), {
    server: "https://a:6443",
    ca: { file: join(beside, "pki/ca.crt") },
  });
});

test("what a daemon does not follow is refused by its name, without its value", (t) => {
  for (const [user, words] of [
    ["exec: {command: s3cret}", /user "u1": "exec" is not followed here/],
    ["auth-provider: {name: s3cret}", /"auth-provider" is not followed/],
    ["username: s3cret, password: s3cret", /"username", "password" is not followed/],
    ["as: s3cret", /"as" is not followed/],
    ["client-certificate: c.crt", /only one of client-certificate and client-key/],
    ['client-key-data: "s3cret!"', /client-key-data: /],
    ["token: [s3cret]", /user "u1": token: /],
  ] as const) {
    const file = write(t, { user });
    assert.throws(
      () => fromKubeconfig({ file }),
      (error: Error) =>
        words.test(error.message) && error.message.startsWith(file) && !error.message.includes("s3cret"),
      user,
    );
  }
  assert.throws(() => fromKubeconfig({ file: write(t, { cluster: "server: x, proxy-url: y" }) }), /"proxy-url"/);
});

test("a server is trusted blindly only where the caller says so too", (t) => {
  const file = write(t, { cluster: 'server: "https://a", insecure-skip-tls-verify: true' });
  assert.throws(() => fromKubeconfig({ file }), { code: "bad-config", message: /insecure-skip-tls-verify/ });
  assert.equal(fromKubeconfig({ file, allowInsecure: true }).insecure, true);
});

test("a context, cluster or file that is not there is named", (t) => {
  const file = write(t);
  assert.throws(() => fromKubeconfig({ file, context: "x" }), { message: `${file} has no context "x"` });
  assert.throws(() => fromKubeconfig({ file, context: "lost" }), { message: `${file} has no cluster "gone"` });
  assert.throws(() => fromKubeconfig({ file: `${file}.no` }), {
    code: "bad-config",
    message: `${file}.no cannot be read`,
  });
});
