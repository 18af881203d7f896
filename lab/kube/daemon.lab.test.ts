// The API server in a lab: TLS with client certificates, in a namespace of its own, orders by its socket, a restart that keeps its objects.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { type Authority, makeAuthority } from "../../test/cluster/certificates.ts";
import { look, openWire } from "../../test/kube-wire.ts";
import { removeLab } from "../down.ts";
import { execOk } from "../exec.ts";
import { makeNetns } from "../netns.ts";
import { createLab, type Lab, netnsPrefix } from "../record.ts";
import { type ApiDaemonOptions, startApiDaemon } from "./daemon.ts";
import { startApiServer } from "./server.ts";

let labs = 0;

async function stand(t: TestContext): Promise<{ lab: Lab; netns: string; directory: string; authority: Authority }> {
  labs += 1;
  const name = `api${process.pid}x${labs}`;
  const lab = createLab({ name });
  t.after(async () => {
    await removeLab(name);
    lab.close();
  });
  const netns = `${netnsPrefix}${name}-control`;
  await makeNetns(lab, netns);
  await execOk("ip", ["-n", netns, "link", "set", "lo", "up"], { env: lab.env });
  return { lab, netns, directory: lab.directory, authority: await makeAuthority(lab, `${lab.directory}/pki`) };
}

const read = (file: string): string => readFileSync(file, "utf8");

void test("a client certificate of the right authority names its user and groups; without one a token is needed", async (t) => {
  const { authority } = await stand(t);
  const own = await authority.issue("server", { user: "api", serves: ["IP:127.0.0.1"] });
  const client = await authority.issue("client", { user: "system:node:n1", group: "system:nodes" });
  const ca = read(authority.certificate);
  const tls = { cert: read(own.certificate), key: read(own.key), clientCa: ca };
  const server = await startApiServer({ tls, anonymous: false });
  const certified = openWire({ url: server.url, tls: { ca, cert: read(client.certificate), key: read(client.key) } });
  const bare = openWire({ url: server.url, tls: { ca } });
  t.after(async () => {
    await Promise.all([certified.close(), bare.close()]);
    await server.close();
  });
  const who = await certified.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", { body: {} });
  assert.deepEqual(look(who.body, "status", "userInfo"), {
    username: "system:node:n1",
    groups: ["system:nodes", "system:authenticated"],
  });
  assert.equal((await bare.call("GET", "/api/v1/nodes")).status, 401);
});

/** Asks from inside the namespace; gives the status and the body. */
async function ask(lab: Lab, netns: string, url: string): Promise<string> {
  const script = `fetch(${JSON.stringify(url)}, { headers: { authorization: "Bearer secret" } }).then(async (answer) => console.log(answer.status, await answer.text()))`;
  return execOk(process.execPath, ["-e", script], { env: lab.env, netns });
}

void test("a daemon serves inside its namespace, follows orders, and keeps its objects over a restart", async (t) => {
  const { lab, netns, directory } = await stand(t);
  const options: ApiDaemonOptions = {
    netns,
    directory: `${directory}/api`,
    host: "127.0.0.1",
    port: 6443,
    tokens: { secret: { name: "admin" } },
  };
  const first = await startApiDaemon(lab, options);
  assert.match(await ask(lab, netns, `${first.url}/version`), /^200 .*fairlead-lab/);
  await first.order("add-fault", { verb: "list", resource: "nodes", effect: { does: "answer", status: 503 } });
  assert.match(await ask(lab, netns, `${first.url}/api/v1/nodes`), /^503 .*ServiceUnavailable/);
  assert.match(await first.order("usage"), /"user":"admin","requests":2/);
  await assert.rejects(first.order("nonsense"), /did not follow the order nonsense: .*pause/);
  const before = await ask(lab, netns, `${first.url}/api/v1/namespaces/default`);
  await first.stop();
  const second = await startApiDaemon(lab, options);
  assert.equal(await ask(lab, netns, `${second.url}/api/v1/namespaces/default`), before);
  await second.stop();
});
