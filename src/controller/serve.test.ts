// Two whole controllers with an election between them: what each tells, who works, and how the other takes over.

import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { test } from "node:test";
import { silentLog } from "../base/log.ts";
import { present } from "../base/assert.ts";
import { connect } from "../kube/connect.ts";
import type { Kube } from "../kube/contract.ts";
import { nodes } from "../kube/core-objects.ts";
import { parseCidr } from "../net/cidr.ts";
import { checkSettled } from "../../test/controller/settled.ts";
import { createWorld, type World } from "../../test/controller/world.ts";
import { until } from "../../test/until.ts";
import { type ControllerConfig, controllerConfigSchema } from "./config.ts";
import { serve } from "./serve.ts";

const config: ControllerConfig = {
  ...controllerConfigSchema.parse({ assign: "fairlead", ranges: [{ cidr: "10.64.0.0/16" }], status: { port: 0 } }),
  // Shorter than a configuration may say: so that a test need not wait.
  lease: { namespace: "default", name: "controller", durationMs: 5000 },
};

interface Running {
  port: number;
  ask(path: string): Promise<{ status: number; body: string }>;
  /** Ends in order, as SIGTERM does. */
  stop(): Promise<void>;
  /** Its connections are gone and it can open no more: to everybody else it is dead. */
  kill(): Promise<void>;
}

async function run(world: World): Promise<Running> {
  const kube = connect({ address: { server: world.server.url }, userAgent: "controller" });
  const stop = new AbortController();
  const serving = Promise.withResolvers<number>();
  const done = serve({ config, kube, log: silentLog(), version: "1", signal: stop.signal, onServing: serving.resolve });
  const port = await Promise.race([serving.promise, done.then(() => 0)]);
  const end = async (): Promise<void> => {
    stop.abort();
    await done;
    await kube.close();
  };
  return {
    port,
    ask: async (path) => {
      const answer = await fetch(`http://127.0.0.1:${port}${path}`);
      return { status: answer.status, body: await answer.text() };
    },
    stop: end,
    kill: async () => {
      await kube.close();
      await end();
    },
  };
}

const leads = async ({ ask }: Running): Promise<boolean> => /"leads":true/.test((await ask("/status")).body);
const served = async ({ kube }: World, name: string): Promise<boolean> =>
  (await kube.get(nodes, { name })).status.conditions?.some(({ reason }) => reason === "FairleadReady") === true;

test("a controller whose status port is taken ends, and does not stand for election meanwhile", async () => {
  const world = await createWorld({
    ...config,
    ranges: [{ cidr: present(parseCidr("10.64.0.0/16"), "range"), blockPrefix: 24 }],
  });
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const { port } = taken.address() as AddressInfo;
  const kube = connect({ address: { server: world.server.url }, userAgent: "controller" });
  let calls = 0;
  const counted = { ...kube, get: (...args: Parameters<Kube["get"]>) => ((calls += 1), kube.get(...args)) } as Kube;
  try {
    const options = { kube: counted, log: silentLog(), version: "1", signal: new AbortController().signal };
    const status = { ...config.status, port };
    await assert.rejects(serve({ ...options, config: { ...config, status } }), new RegExp(String(port)));
    const before = calls;
    const endMs = performance.now() + config.lease.durationMs / 2; // it would have tried several times
    while (performance.now() < endMs) await world.kube.list(nodes);
    assert.equal(calls, before);
  } finally {
    await kube.close();
    taken.close();
    await world.close();
  }
});

test("one of two leads; when it stops or dies the other goes on, and both say how they are", async () => {
  const world = await createWorld({
    ...config,
    ranges: [{ cidr: present(parseCidr("10.64.0.0/16"), "range"), blockPrefix: 24 }],
  });
  const running: Running[] = [await run(world), await run(world)];
  try {
    const serveNode = async (name: string): Promise<void> => {
      await world.addNode(name);
      await world.runAgent(name);
      await until(`${name} is served`, () => served(world, name));
    };
    await serveNode("a");
    let leading: boolean[] = [];
    await until("one of them leads", async () => {
      leading = await Promise.all(running.map(leads));
      return leading.filter((one) => one).length === 1;
    });
    for (const each of running) {
      await until("it is ready", async () => (await each.ask("/readyz")).status === 200);
      assert.deepEqual(await each.ask("/healthz"), { status: 200, body: "ok\n" });
    }
    const leader = present(running[leading.indexOf(true)], "a leader");
    const other = present(running[leading.indexOf(false)], "another");
    const metrics = (await leader.ask("/metrics")).body;
    assert.match(metrics, /fairlead_node_blocks\{range="10.64.0.0\/16",state="given"\} 1/);
    assert.match(metrics, /fairlead_controller_leads 1/);
    assert.match((await other.ask("/metrics")).body, /fairlead_controller_leads 0/);
    assert.equal((await leader.ask("/nothing")).status, 404);

    await leader.stop();
    await serveNode("b");
    assert.ok(await leads(other));
    running.splice(running.indexOf(leader), 1, await run(world));
    await other.kill();
    running.splice(running.indexOf(other), 1);
    await serveNode("c");
    await world.removeNode("a");
    await until("what a had is free again", () =>
      checkSettled(world).then(
        () => true,
        () => false,
      ),
    );
    await checkSettled(world);
  } finally {
    for (const each of running) await each.stop();
    await world.close();
  }
});

test("a replica that cannot see the cluster says so, and serves when it can", async () => {
  const world = await createWorld({ ...config, ranges: [...config.ranges] });
  world.server.pause();
  const controller = await run(world);
  try {
    const { status, body } = await controller.ask("/readyz");
    assert.deepEqual([status, (await controller.ask("/healthz")).status], [503, 200]);
    assert.match(body, /Node have not been listed yet/);
    world.server.resume();
    await until("it is ready", async () => (await controller.ask("/readyz")).status === 200);
  } finally {
    world.server.resume();
    await controller.stop();
    await world.close();
  }
});
