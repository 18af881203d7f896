// Who is trusted and who calls: TLS both ways, tokens and authorities that change under a running client, nothing secret in messages.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { TLSSocket } from "node:tls";
import { describe, isFault } from "../base/fault.ts";
import { startPair } from "../../test/kube/client.ts";
import { until } from "../../test/until.ts";
import { startServer, type TestServer } from "../../test/kube/server.ts";
import { type KubeAddress, inCluster, serverUrl } from "./address.ts";
import { connect } from "./connect.ts";
import { configMaps } from "./core-objects.ts";

const fixture = (name: string): string => join(import.meta.dirname, "../../test/fixtures/kube-tls", name);
const text = (name: string): { text: string } => ({ text: readFileSync(fixture(name), "utf8") });

function makeDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "fltest-kube-"));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

async function startSecure(t: TestContext): Promise<TestServer> {
  const server = await startServer({
    tls: {
      cert: text("server.crt").text,
      key: text("server.key").text,
      ca: text("ca.crt").text,
      requestCert: true,
      rejectUnauthorized: false,
    },
  });
  t.after(() => server.stop());
  return server;
}

/** One list by a client of its own; "ok", or the words of its failure. */
async function attempt(address: KubeAddress): Promise<string> {
  const kube = connect({ address, userAgent: "test/1" });
  try {
    await kube.list(configMaps);
    return "ok";
  } catch (error) {
    return isFault(error) ? `${error.code} ${describe(error)}` : String(error);
  } finally {
    await kube.close();
  }
}

test("a server is trusted by its authority and its name alone", async (t) => {
  const { url } = await startSecure(t);
  assert.equal(await attempt({ server: url, ca: text("ca.crt") }), "ok");
  assert.equal(await attempt({ server: url, ca: text("ca.crt"), serverName: "kubernetes" }), "ok");
  assert.match(await attempt({ server: url, ca: text("stranger.crt") }), /^kube-unreachable GET .*certificate/);
  assert.match(await attempt({ server: url }), /^kube-unreachable GET .*certificate/);
  assert.match(await attempt({ server: url, ca: text("ca.crt"), serverName: "other" }), /^kube-unreachable .*other/);
  assert.equal(await attempt({ server: url, insecure: true }), "ok");
});

test("a client certificate proves who calls", async (t) => {
  const server = await startSecure(t);
  const names: unknown[] = [];
  server.onSocket = (socket) => {
    names.push((socket as TLSSocket).getPeerCertificate().subject?.CN);
  };
  const clientCertificate = { certificate: { file: fixture("client.crt") }, key: { file: fixture("client.key") } };
  assert.equal(await attempt({ server: server.url, ca: text("ca.crt"), clientCertificate }), "ok");
  assert.equal(await attempt({ server: server.url, ca: text("ca.crt") }), "ok");
  assert.deepEqual(names, ["system:node:test", undefined]);
});

test("calls that follow each other do not keep a connection for ever: the next one has the certificate of its time", async (t) => {
  const server = await startSecure(t);
  let connections = 0;
  server.onSocket = () => (connections += 1);
  const kube = connect({
    address: { server: server.url, ca: text("ca.crt") },
    userAgent: "test/1",
    limits: { connectionMs: 50 },
  });
  t.after(() => kube.close());
  await until("a second connection", async () => {
    await kube.list(configMaps);
    return connections > 1;
  });
});

test("an authority that changes is read anew for the next connection", async (t) => {
  const { url } = await startSecure(t);
  const ca = join(makeDirectory(t), "ca.crt");
  writeFileSync(ca, text("stranger.crt").text);
  const kube = connect({ address: { server: url, ca: { file: ca } }, userAgent: "test/1" });
  t.after(() => kube.close());
  await assert.rejects(kube.list(configMaps), { code: "kube-unreachable" });
  writeFileSync(`${ca}.new`, text("ca.crt").text);
  renameSync(`${ca}.new`, ca);
  await kube.list(configMaps);
});

test("a token that changed is used at once; one that vanishes for a moment stays in use", async (t) => {
  const file = join(makeDirectory(t), "token");
  writeFileSync(file, "first\n");
  const { server, kube } = await startPair(t, { address: { token: { file } } });
  await kube.list(configMaps);
  writeFileSync(`${file}.new`, "second-token\n");
  renameSync(`${file}.new`, file);
  await kube.list(configMaps);
  rmSync(file);
  await kube.list(configMaps);
  writeFileSync(file, "");
  await kube.list(configMaps);
  assert.deepEqual(
    server.seen.map(({ headers }) => headers.authorization),
    ["Bearer first", "Bearer second-token", "Bearer second-token", "Bearer second-token"],
  );
});

test("a call that is refused while its token is renewed is tried with the new one, and only then", async (t) => {
  const file = join(makeDirectory(t), "token");
  writeFileSync(file, "old");
  const { server, kube } = await startPair(t, { address: { token: { file } } });
  server.whim = ({ headers }) => {
    if (headers.authorization === "Bearer newer") return undefined;
    writeFileSync(file, "newer");
    return { answer: 401 };
  };
  await kube.list(configMaps);
  assert.equal(server.seen.length, 2);
  server.whim = () => ({ answer: 401 });
  await assert.rejects(kube.list(configMaps), { code: "kube-unauthorized" });
  assert.equal(server.seen.length, 3, "the same token is not tried twice");
});

test("a file that was never there, or holds no token, is named", async (t) => {
  const file = join(makeDirectory(t), "token");
  const { server, kube } = await startPair(t, { address: { token: { file } } });
  await assert.rejects(kube.list(configMaps), { code: "kube-unauthorized", message: `${file} cannot be read` });
  writeFileSync(file, "two\nlines");
  await assert.rejects(kube.list(configMaps), { code: "kube-unauthorized", message: /the token in .* holds what no/ });
  assert.equal(server.seen.length, 0);
});

test("no message holds the token", async (t) => {
  const secret = "s3cret-t0ken";
  const { server, kube } = await startPair(t, { address: { token: { text: secret } }, limits: { callMs: 1000 } });
  for (const whim of [{ answer: 401 }, { answer: 500 }, { drop: "before" }, { stall: "before" }] as const) {
    server.whim = () => whim;
    const error = await kube.list(configMaps).then(
      () => undefined,
      (error: unknown) => error,
    );
    assert.ok(isFault(error));
    assert.doesNotMatch(`${describe(error)} ${JSON.stringify(error.data)} ${error.stack}`, /s3cret/);
  }
  assert.equal(server.seen[0]?.headers.authorization, `Bearer ${secret}`);
});

test("a pod's address is that of the service, or the one it is given", () => {
  const files = { ca: { file: "/sa/ca.crt" }, token: { file: "/sa/token" } };
  assert.deepEqual(inCluster({ serviceHost: "10.0.0.1", servicePort: "6443", directory: "/sa" }), {
    server: "https://10.0.0.1:6443",
    ...files,
  });
  assert.equal(inCluster({ serviceHost: "fd00::1", servicePort: "443" }).server, "https://[fd00::1]:443");
  assert.equal(inCluster({ server: "https://api:1", serviceHost: "10.0.0.1" }).server, "https://api:1");
  assert.throws(() => inCluster({}), { code: "bad-config", message: /KUBERNETES_SERVICE_HOST/ });
});

test("an address that would give secrets away, or is none, is refused", () => {
  const token = { text: "x" };
  for (const [address, words] of [
    [{ server: "10.0.0.1:443" }, /no URL|must begin with https/],
    [{ server: "ftp://a" }, /must begin with https/],
    [{ server: "https://user:pw@a" }, /holds a user or password/],
    [{ server: "https://a/?x=1" }, /something after its path/],
    [{ server: "http://10.0.0.1", token }, /in the clear/],
  ] as const) {
    assert.throws(() => serverUrl(address), { code: "bad-config", message: words }, address.server);
  }
  for (const address of [
    { server: "http://10.0.0.1" },
    { server: "http://127.0.0.1:8001", token },
    { server: "http://10.0.0.1", token, insecure: true },
  ])
    assert.doesNotThrow(() => serverUrl(address));
});
