// The gate: order per container, bounds over all, and a clean end.

import assert from "node:assert/strict";
import { test } from "node:test";
import { isFault } from "../base/fault.ts";
import { createGate } from "./gate.ts";

interface Call {
  name: string;
  finish: () => void;
  done: Promise<void>;
}

function caller(gate: ReturnType<typeof createGate>): { started: string[]; call: (key: string, name: string) => Call } {
  const started: string[] = [];
  return {
    started,
    call: (key, name) => {
      let finish = (): void => {};
      const ended = new Promise<void>((done) => (finish = done));
      const done = gate.run(key, async () => {
        started.push(name);
        await ended;
      });
      return { name, finish, done };
    },
  };
}

const turn = (): Promise<void> => new Promise((done) => setImmediate(done));

test("calls of one key run one after the other, in order; other keys go on", async () => {
  const gate = createGate();
  const { started, call } = caller(gate);
  const first = call("a", "a1");
  const second = call("a", "a2");
  const third = call("a", "a3");
  const other = call("b", "b1");
  await turn();
  assert.deepEqual(started, ["a1", "b1"]);
  first.finish();
  await turn();
  assert.deepEqual(started, ["a1", "b1", "a2"]);
  second.finish();
  await turn();
  assert.deepEqual(started, ["a1", "b1", "a2", "a3"]);
  third.finish();
  other.finish();
  await Promise.all([first.done, second.done, third.done, other.done]);
  assert.deepEqual(gate.depth(), { working: 0, waiting: 0 });
});

test("no more than the workers run, and a full queue refuses with agent-busy", async () => {
  const gate = createGate({ workers: 2, queueLen: 1 });
  const { started, call } = caller(gate);
  const calls = [call("a", "a"), call("b", "b"), call("c", "c")];
  await turn();
  assert.deepEqual(started, ["a", "b"]);
  await assert.rejects(
    gate.run("d", async () => {}),
    (error) => isFault(error, "agent-busy"),
  );
  for (const { finish } of calls) finish();
  await Promise.all(calls.map(({ done }) => done));
  assert.deepEqual(started, ["a", "b", "c"]);
});

test("a call that fails frees its key and its worker", async () => {
  const gate = createGate({ workers: 1 });
  await assert.rejects(
    gate.run("a", () => Promise.reject(new Error("no"))),
    /no/,
  );
  assert.equal(await gate.run("a", async () => 7), 7);
});

test("a closing gate refuses new calls and waits for those admitted", async () => {
  const gate = createGate({ workers: 1 });
  const { started, call } = caller(gate);
  const calls = [call("a", "a"), call("b", "b")];
  let closed = false;
  const closing = gate.close().then(() => (closed = true));
  await assert.rejects(
    gate.run("c", async () => {}),
    (error) => isFault(error, "agent-stopping"),
  );
  calls[0]?.finish();
  await turn();
  assert.equal(closed, false);
  calls[1]?.finish();
  await closing;
  assert.deepEqual(started, ["a", "b"]);
});
