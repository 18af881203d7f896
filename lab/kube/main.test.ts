// The API server as a program: what it is told by its file and its socket, what it keeps over a restart, how it knows who calls.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { look, made, openWire, version } from "../../test/kube-wire.ts";

const program = fileURLToPath(new URL("main.ts", import.meta.url));

interface Running {
  url: string;
  end(): Promise<number | null>;
}

async function start(t: TestContext, directory: string, config: object): Promise<Running> {
  const file = join(directory, "config.yaml");
  writeFileSync(file, stringify(config));
  const child = spawn(process.execPath, [program, file], { stdio: ["ignore", "pipe", "inherit", "pipe"] });
  t.after(() => child.kill("SIGKILL"));
  const said = await firstText(child, 1);
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  return {
    url: /"url":"([^"]+)"/.exec(said)?.[1] ?? "",
    end: () => {
      child.kill("SIGTERM");
      return exited;
    },
  };
}

function firstText(child: ChildProcess, fd: 1 | 3): Promise<string> {
  return new Promise((resolve, reject) => {
    child.stdio[fd]?.once("data", (chunk: Buffer) => resolve(chunk.toString()));
    child.once("exit", (code) => reject(new Error(`ended with ${code}`)));
  });
}

function command(socketPath: string, name: string, body: unknown = ""): Promise<{ code: number; body: string }> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, path: `/${name}`, method: "POST" }, (response) => {
      let text = "";
      response.on("data", (chunk: Buffer) => (text += chunk.toString()));
      response.once("end", () => resolve({ code: response.statusCode ?? 0, body: text }));
    });
    asked.once("error", reject);
    asked.end(typeof body === "string" ? body : JSON.stringify(body));
  });
}

void test("objects, kinds and versions outlive a restart; tokens tell callers apart; commands come by a socket", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-api-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const control = join(directory, "control.sock");
  const file = join(directory, "objects.json");
  const tokens = { secret: { name: "admin", groups: ["system:masters"] } };
  const first = await start(t, directory, { file, control, tokens });
  const wire = openWire({ url: first.url, token: "secret" });
  const anonymous = openWire({ url: first.url });
  t.after(() => Promise.all([wire.close(), anonymous.close()]));
  assert.equal((await anonymous.call("GET", "/api/v1/nodes")).status, 401);
  const node = await made(wire, "/api/v1/nodes", { metadata: { name: "a" } });
  const definition = {
    metadata: { name: "things.example.com" },
    spec: {
      group: "example.com",
      scope: "Cluster",
      names: { plural: "things", kind: "Thing" },
      versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object" } } }],
    },
  };
  await made(wire, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition);
  await made(wire, "/apis/example.com/v1/things", {
    apiVersion: "example.com/v1",
    kind: "Thing",
    metadata: { name: "t" },
  });

  const issued = await command(control, "issue-token", { name: "agent", extra: { "a/b": ["c"] } });
  const agent = openWire({ url: first.url, token: (JSON.parse(issued.body) as { token: string }).token });
  t.after(() => agent.close());
  const who = await agent.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", { body: {} });
  assert.equal(look(who.body, "status", "userInfo", "username"), "agent");
  assert.deepEqual(look(who.body, "status", "userInfo", "extra"), { "a/b": ["c"] });
  assert.equal(
    (await command(control, "add-fault", { verb: "get", effect: { does: "answer", status: 503 } })).code,
    200,
  );
  assert.equal((await wire.call("GET", "/api/v1/nodes/a")).status, 503);
  const usage = await command(control, "usage");
  assert.match(usage.body, /"user":"agent","requests":1/);
  const unknown = await command(control, "nonsense");
  assert.deepEqual([unknown.code, unknown.body.includes("pause")], [404, true]);
  const odd = await command(control, "add-fault", { effect: { does: "explode" } });
  assert.equal(odd.code, 400);

  assert.equal(await first.end(), 0);
  const second = await start(t, directory, { file, tokens });
  const again = openWire({ url: second.url, token: "secret" });
  t.after(() => again.close());
  assert.deepEqual((await again.call("GET", "/api/v1/nodes/a")).body, node);
  assert.equal((await again.call("GET", "/apis/example.com/v1/things/t")).status, 200);
  const watching = await again.watch(`/api/v1/nodes?watch=1&resourceVersion=${version(node)}`);
  t.after(() => watching.close());
  assert.equal((await watching.next())?.object["code"], 410, "what changed before the restart is not known");
  assert.equal(await second.end(), 0);
  assert.match(readFileSync(file, "utf8"), /"things.example.com"/);
});
