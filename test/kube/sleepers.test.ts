// Leaders that are put to sleep and wake too late: their terms are over in the first line that they run.

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { until } from "../until.ts";
import { startServer } from "./server.ts";

const times = ["3000", "2000", "60"];
const candidate = join(import.meta.dirname, "candidate.ts");

interface Sleeper {
  who: string;
  child: ChildProcess;
  /** For each term when it was sure to hold it, on the machine's monotonic clock. */
  terms: number[][];
}

function start(t: TestContext, server: string, who: string): Sleeper {
  const child = spawn(process.execPath, [candidate, server, who, ...times], { stdio: ["ignore", "pipe", "inherit"] });
  const sleeper: Sleeper = { who, child, terms: [[]] };
  let rest = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    const lines = `${rest}${text}`.split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "over") sleeper.terms.push([]);
      else sleeper.terms.at(-1)?.push(Number(line));
    }
  });
  const ended = new Promise<void>((done) => child.once("exit", () => done()));
  t.after(async () => {
    child.kill("SIGCONT");
    child.kill("SIGKILL");
    await ended;
  });
  return sleeper;
}

test("a leader that sleeps through its term never acts beside the next one, on one clock", async (t) => {
  const server = await startServer();
  t.after(() => server.stop());
  const first = start(t, server.url, "first");
  await until("the first leads", () => acts(first) > 0);
  const second = start(t, server.url, "second");
  await until("the second looks on", () => server.seen.some(({ headers }) => headers["user-agent"] === "second"));
  for (let night = 0; night < 3; night += 1) {
    // A busy computer may have changed them over by itself.
    const [asleep, awake] = lastActMs(first) > lastActMs(second) ? [first, second] : [second, first];
    asleep.child.kill("SIGSTOP");
    const before = acts(awake);
    await until(`${awake.who} leads`, () => acts(awake) > before + 5);
    const ended = asleep.terms.length;
    asleep.child.kill("SIGCONT");
    await until(`${asleep.who} has seen its term end`, () => asleep.terms.length > ended);
  }
  const terms = [first, second].flatMap(({ who, terms }) => terms.map((actsMs) => ({ who, actsMs })));
  const held = terms.filter(({ actsMs }) => actsMs.length > 0).sort((a, b) => (a.actsMs[0] ?? 0) - (b.actsMs[0] ?? 0));
  assert.ok(held.length >= 4, "each night brought a new leader");
  for (const [index, { who, actsMs }] of held.entries()) {
    const earlier = held[index - 1];
    const besideMs = (earlier?.actsMs.at(-1) ?? -Infinity) - (actsMs[0] ?? 0);
    assert.ok(besideMs < 0, `${earlier?.who} acted ${besideMs} ms after ${who} had begun`);
  }
});

const lastActMs = ({ terms }: Sleeper): number => terms.flat().at(-1) ?? 0;
const acts = ({ terms }: Sleeper): number => terms.reduce((count, actsMs) => count + actsMs.length, 0);
