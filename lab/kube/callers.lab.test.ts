// TLS and client certificates at the API server, with an authority as clusters have one.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { makeAuthority } from "../certificates.ts";
import { look, openWire } from "../../test/kube-wire.ts";
import { removeLab } from "../down.ts";
import { createLab } from "../record.ts";
import { startApiServer } from "./server.ts";

const read = (file: string): string => readFileSync(file, "utf8");

void test("a client certificate of the right authority names its user and groups; without one a token is needed", async (t) => {
  const name = `api${process.pid}`;
  const lab = createLab({ name });
  t.after(async () => {
    await removeLab(name);
    lab.close();
  });
  const authority = await makeAuthority(lab, `${lab.directory}/pki`);
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
