// `fairlead ask` and who talks with it: questions as lines to an agent and back, and what becomes of those that are not answered.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { test, type TestContext } from "node:test";
import { Fault } from "../../base/fault.ts";
import { faultSaying } from "../../../test/kernel-stage.ts";
import type { AgentDoor } from "./door.ts";
import { answerQuestions, askersMax } from "./ask.ts";
import { createTalk, type Talk } from "./talk.ts";

/** A talk with a program that asks an agent which says this; what the program writes comes in pieces of `pieceLen`. */
function talkWith(
  t: TestContext,
  says: (path: string) => unknown,
  pieceLen = Infinity,
): { talk: Talk; ended: Promise<void> } {
  const input = new PassThrough();
  const door: AgentDoor = { place: "a socket", ask: async (path) => says(path), close: () => {} };
  const talk = createTalk("the agent of node n1", (line) => void input.write(line));
  const print = (text: string): void => {
    const line = `${text}\n`;
    for (let from = 0; from < line.length; from += pieceLen) talk.heard(line.slice(from, from + pieceLen));
  };
  const ended = answerQuestions(door, { input, print });
  t.after(() => input.end());
  return { talk, ended };
}

void test("each question gets its own answer, however they are cut on their way", async (t) => {
  for (const pieceLen of [1, 7, Infinity]) {
    const { talk } = talkWith(t, (path) => ({ path, text: "two\nlines, and \u{1f41f}" }), pieceLen);
    const answers = await Promise.all(["/a", "/b?c=d"].map((path) => talk.ask(path)));
    assert.deepEqual(
      answers,
      ["/a", "/b?c=d"].map((path) => ({ path, text: "two\nlines, and \u{1f41f}" })),
    );
  }
});

void test("a fault of the agent comes through with its code and words, and the next question is answered", async (t) => {
  const { talk } = talkWith(t, (path) => {
    if (path === "/gone") throw new Fault("not-found", "no agent answers at a socket");
    if (path === "/odd") throw new Fault("kube-busy", "not now");
    return null;
  });
  await assert.rejects(talk.ask("/gone"), faultSaying("not-found", /no agent answers at a socket/));
  await assert.rejects(talk.ask("/odd"), faultSaying("io-failure", /not now/));
  await assert.rejects(talk.ask("no path"), faultSaying("io-failure", /a question is a path/));
  assert.equal(await talk.ask("/policy"), null);
});

void test("what ends before it has answered, and what writes something else, is told in its own words", async () => {
  const talk = createTalk("the agent of node n1", () => {});
  const waiting = [talk.ask("/a"), talk.ask("/b")];
  talk.complained("error: unknown command 'ask'\n(more)\n");
  talk.ended("exit code 1");
  for (const one of waiting)
    await assert.rejects(
      one,
      faultSaying("io-failure", /the agent of node n1 cannot be asked: error: unknown command 'ask'$/),
    );
  assert.ok(talk.isOver());
  await assert.rejects(talk.ask("/c"), faultSaying("io-failure", /unknown command/));

  const silent = createTalk("the agent of node n2", () => {});
  const asked = silent.ask("/a");
  silent.ended();
  await assert.rejects(asked, faultSaying("io-failure", /n2 cannot be asked: it ended/));

  const other = createTalk("the agent of node n3", () => {});
  const odd = [other.ask("/a"), other.ask("/b"), other.ask("/c")];
  other.heard('hello\n{"question":1}\n{"answer":5}\n');
  await assert.rejects(odd[0] ?? assert.fail(), faultSaying("io-failure", /something else than an answer/));
  await assert.rejects(odd[1] ?? assert.fail(), faultSaying("io-failure", /something else than an answer/));
  assert.equal(await odd[2], 5);
  other.heard('{"answer":"nobody asked"}\n');
});

void test("an answer without end is not kept", async () => {
  const talk = createTalk("the agent of node n1", () => {});
  const asked = talk.ask("/a");
  const piece = "x".repeat(4 * 1024 * 1024);
  for (let sent = 0; sent < 9; sent += 1) talk.heard(piece);
  await assert.rejects(asked, faultSaying("io-failure", /an answer of more than/));
});

void test("what does not answer is waited for, and then never asked again", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const sent: string[] = [];
  const talk = createTalk("the agent of node n1", (line) => sent.push(line));
  const asked = assert.rejects(talk.ask("/a"), faultSaying("io-failure", /n1 gave no answer within 20 s/));
  t.mock.timers.tick(20_000);
  await asked;
  // What it says now could be the answer to either.
  await assert.rejects(talk.ask("/b"), faultSaying("io-failure", /no answer within/));
  assert.deepEqual(sent, ["/a\n"]);
});

void test("as many as may ask in one pod do; one more is told so", async (t) => {
  const proc = mkdtempSync(join(tmpdir(), "fairlead-ask-"));
  t.after(() => rmSync(proc, { recursive: true }));
  const door: AgentDoor = { place: "a socket", ask: async () => null, close: () => {} };
  const run = (pid: number, ...words: string[]): void => {
    mkdirSync(join(proc, String(pid)));
    writeFileSync(join(proc, String(pid), "cmdline"), `${words.join("\0")}\0`);
  };
  const ask = async (): Promise<void> => {
    const input = new PassThrough();
    input.end();
    await answerQuestions(door, { input, print: () => {}, proc });
  };
  run(1, "node", "--flag", "/opt/fairlead/src/main.ts", "agent", "--config", "ask");
  mkdirSync(join(proc, "2")); // it ends while it is looked at
  for (let pid = 10; pid < 10 + askersMax - 1; pid += 1) run(pid, "node", "/opt/fairlead/src/main.ts", "ask");
  await ask();
  run(99, "node", "/opt/fairlead/src/main.ts", "ask");
  await assert.rejects(ask(), faultSaying("agent-busy", /4 others are asking this agent/));
});
