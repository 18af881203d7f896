// `fairlead flows` against an agent that says what the test wants: tables, what is left out, following over a restart, refusals.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";
import { Fault } from "../base/fault.ts";
import { faultOf } from "../../test/kernel-stage.ts";
import { until } from "../../test/until.ts";
import { type AgentDoor, socketDoor } from "./agents/door.ts";
import { showFlows } from "./flows.ts";

const record = (number: number, more: Record<string, unknown> = {}): Record<string, unknown> => ({
  number,
  atMs: Date.UTC(2026, 0, 2, 14, 2, 11, 310),
  outcome: "denied",
  source: { address: "10.4.1.2", pod: "shop/web" },
  destination: { address: "10.4.1.3", pod: "shop/db" },
  protocol: "tcp",
  port: 22,
  direction: "ingress",
  layer: "NetworkPolicy",
  pod: "shop/db",
  objects: ["NetworkPolicy shop/db"],
  rules: [],
  reason: "no rule allows tcp 22",
  ...more,
});

const answer = (run: string, records: Record<string, unknown>[], more: Record<string, unknown> = {}) => ({
  node: "node-1",
  run,
  newest: records.length,
  records,
  suppressed: [],
  lost: 0,
  unread: 0,
  ...more,
});

interface Asking {
  doors: AgentDoor[];
  lines: string[];
  warnings: string[];
  /** What the agent was asked, query by query. */
  asked: string[];
  show: (options?: Partial<Parameters<typeof showFlows>[0]>) => ReturnType<typeof showFlows>;
}

/** An agent that answers each question by `says`. */
async function agentThat(t: TestContext, says: (query: URLSearchParams) => unknown): Promise<Asking> {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-flows-"));
  const socket = join(directory, "status.sock");
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const [path, query = ""] = (request.url ?? "").split("?");
    asked.push(query);
    response.writeHead(path === "/flows" ? 200 : 404);
    response.end(JSON.stringify(says(new URLSearchParams(query))));
  });
  await new Promise<void>((done) => server.listen(socket, done));
  t.after(() => {
    server.close();
    server.closeAllConnections();
    rmSync(directory, { recursive: true });
  });
  const [lines, warnings]: string[][] = [[], []];
  const options = {
    doors: [socketDoor(socket)],
    denied: true,
    follow: false,
    output: "table",
    signal: new AbortController().signal,
  } as const;
  const show: Asking["show"] = (change = {}) =>
    showFlows({
      ...options,
      print: (text) => lines?.push(...text.split("\n")),
      warn: (text) => warnings?.push(text),
      ...change,
    });
  return { doors: [...options.doors], lines: lines ?? [], warnings: warnings ?? [], asked, show };
}

void test("a table names both ends, what decided, and why; addresses where there is no name", async (t) => {
  const records = [
    record(1),
    record(2, {
      outcome: "audited",
      source: { address: "172.30.0.11", node: "node-1" },
      destination: { address: "fd00::9" },
      protocol: "icmpv6",
      port: undefined,
      icmp: { type: 128, code: 0 },
      suppressed: 7,
    }),
    record(3, { outcome: "began", rules: ["NetworkPolicy shop/db ingress rule 1"], direction: undefined }),
  ];
  const { show, lines, warnings } = await agentThat(t, () => answer("a", records));
  await show();
  assert.deepEqual(
    lines.map((line) => line.replaceAll(/ {2,}/g, " | ")),
    [
      "TIME | OUTCOME | FROM | TO | TRAFFIC | JUDGEMENT | BY | WHY",
      "14:02:11.310 | DENIED | shop/web | shop/db | tcp 22 | ingress NetworkPolicy | NetworkPolicy shop/db | no rule allows tcp 22",
      "14:02:11.310 | audited | node node-1 (172.30.0.11) | fd00::9 | icmpv6 type 128 code 0 | ingress NetworkPolicy | NetworkPolicy shop/db | no rule allows tcp 22 (and 7 more before it)",
      "14:02:11.310 | began | shop/web | shop/db | tcp 22 | - | NetworkPolicy shop/db ingress rule 1 | no rule allows tcp 22",
    ],
  );
  assert.deepEqual(warnings, []);
});

void test("what is left out is said beside the table, and not to programs", async (t) => {
  const suppressed = Array.from({ length: 7 }, (_, n) => ({ pod: n === 1 ? "" : `shop/p${n}`, flows: 70 - n }));
  const more = { suppressed, lost: 3, unread: 2, failing: "another program has it" };
  const { show, lines, warnings } = await agentThat(t, () => answer("a", [], more));
  await show();
  assert.deepEqual(lines, ["nothing was denied on node node-1 since its agent's start"]);
  assert.deepEqual(warnings, [
    "nothing new is heard of: another program has it",
    "beyond what one pod may tell, since the agent's start: shop/p0 70, others 69, shop/p2 68, shop/p3 67, shop/p4 66, and 2 pods more",
    "3 logged packets were lost on their way from the kernel",
    "2 logged packets could not be read",
  ]);
  warnings.length = 0;
  await show({ output: "json" });
  assert.deepEqual(warnings, []);
});

void test("who follows hears what comes, once, and all of another agent's records from their first", async (t) => {
  const news = [answer("a", [record(1)]), answer("a", [record(2)], { newest: 2 }), answer("a", [], { newest: 2 })];
  const restarted = { is: false };
  const { show, lines, asked } = await agentThat(t, (query) => {
    if (restarted.is) {
      const all = [record(1, { port: 81 }), record(2, { port: 82 }), record(3, { port: 83 })];
      return answer("b", all.slice(Number(query.get("after"))), { newest: 3 });
    }
    return news.shift() ?? answer("a", [], { newest: 2 });
  });
  const [end, warnings] = [new AbortController(), [] as string[]];
  const options = { follow: true, denied: false, output: "json", pod: "shop/db", signal: end.signal } as const;
  const following = show({ ...options, warn: (text) => warnings.push(text) });
  await until("it has asked three times", () => asked.length >= 3);
  assert.deepEqual(
    asked.slice(0, 3),
    [0, 1, 2].map((after) => `after=${after}&connections=yes&pod=shop%2Fdb`),
  );
  restarted.is = true;
  await until("all of the other's came", () => lines.some((line) => line.includes('"port":83')));
  end.abort();
  await following;
  assert.deepEqual(
    lines.map((line) => (JSON.parse(line) as { port: number }).port),
    [22, 22, 81, 82, 83],
  );
  assert.deepEqual(warnings, ["the agent has started anew"]);
});

void test("a pod without its namespace, another node's agent, one without policy, an answer of another shape: refused in words", async (t) => {
  const none = { none: "this agent judges no pods" };
  const says: { now: unknown } = { now: answer("a", []) };
  const { show, asked } = await agentThat(t, () => says.now);
  await assert.rejects(show({ pod: "web" }), faultOf("unsupported-value"));
  assert.deepEqual(asked, [], "nobody was asked");
  await assert.rejects(show({ node: "node-2" }), /is the agent of node node-1, not of node-2/);
  await show({ node: "node-1" });
  says.now = none;
  await assert.rejects(show(), /this agent judges no pods/);
  says.now = { node: "node-1" };
  await assert.rejects(show(), faultOf("io-failure"));
  await assert.rejects(show({ doors: [socketDoor("/run/fltest-no-such.sock")] }), faultOf("not-found"));
});

void test("of several agents each record has its node, in the order of time; who is away or has started anew is named", async (t) => {
  const one = await agentThat(t, () => answer("a", [record(1, { atMs: 3000 })]));
  const other = await agentThat(t, () => answer("b", [record(1, { atMs: 1000 })], { node: "node-2", lost: 1 }));
  const doors = [...one.doors, ...other.doors, socketDoor("/run/fltest-no-such.sock")];
  assert.equal(await one.show({ doors }), false);
  assert.deepEqual(
    one.lines.map((line) => line.split(/ {2,}/).slice(0, 3).join(" | ")),
    ["NODE | TIME | OUTCOME", "node-2 | 00:00:01.000 | DENIED", "node-1 | 00:00:03.000 | DENIED"],
  );
  assert.deepEqual(one.warnings, [
    "no agent answers at /run/fltest-no-such.sock; is it running here? --socket names another path",
    "node node-2: 1 logged packets were lost on their way from the kernel",
  ]);
  one.lines.length = 0;
  await one.show({ doors, output: "json" });
  assert.deepEqual(
    one.lines.map((line) => (JSON.parse(line) as { node: string }).node),
    ["node-2", "node-1"],
  );
});

void test("of several agents who are followed one may go away without an end for the others", async (t) => {
  let told = 0;
  const one = await agentThat(t, (query) => {
    told = Math.min(told + 1, Number(query.get("after")) + 1);
    return answer("a", [record(told)], { newest: told });
  });
  const ends: AgentDoor = {
    place: "the agent of node node-9",
    ask: (path) =>
      path.includes("after=0&")
        ? Promise.resolve(answer("c", [record(1)], { node: "node-9" }))
        : Promise.reject(new Fault("unsupported-value", "its rights were taken away")),
    close: () => {},
  };
  const end = new AbortController();
  const following = one.show({ doors: [...one.doors, ends], follow: true, signal: end.signal });
  await until("more came of the other", () => one.lines.filter((line) => line.startsWith("node-1 ")).length >= 3);
  end.abort();
  await following;
  assert.deepEqual(one.warnings, ["the agent of node node-9 is asked no more: its rights were taken away"]);
  await assert.rejects(one.show({ doors: [ends], follow: true }), /its rights were taken away/);
});

void test("who follows all agents follows those that join, and those that come back, and is told nothing twice", async (t) => {
  const ends = { are: false, more: 0 };
  const one = await agentThat(t, () => answer("a", []));
  const closed: string[] = [];
  const joined: AgentDoor = {
    place: "the agent of node node-2",
    ask: (path) => {
      if (ends.are) return Promise.reject(new Fault("kube-refused", "its rights were taken away"));
      const after = Number(/after=(\d+)/.exec(path)?.[1]);
      const all = Array.from({ length: 2 + ends.more }, (_, n) => record(n + 1, { port: 80 + n }));
      return Promise.resolve(answer("c", all.slice(after), { node: "node-2", newest: all.length }));
    },
    close: () => closed.push("node-2"),
  };
  const dumb: AgentDoor = {
    place: "the agent of node node-3",
    ask: () => Promise.reject(new Fault("not-found", "it is not there yet")),
    close: () => closed.push("node-3"),
  };
  const looks = { made: 0, fail: true };
  const look = (): Promise<AgentDoor[]> => {
    looks.made += 1;
    if (looks.fail) return Promise.reject(new Fault("kube-unreachable", "no API server answers"));
    return Promise.resolve([...one.doors, joined, dumb]);
  };
  const end = new AbortController();
  t.after(() => end.abort());
  const later = { everyMs: 20, doors: look };
  const following = one.show({ follow: true, later, signal: end.signal });
  await until("it has looked twice in vain", () => looks.made >= 2);
  looks.fail = false;
  const told = (): string[] =>
    one.lines.flatMap((line) => [...line.matchAll(/^node-2 .*? tcp (\d+)/g)].map(([, port]) => port ?? ""));
  await until("all that the new one has was told", () => told().length === 2);
  ends.are = true;
  await until("it was given up, and tried again", () =>
    one.warnings.some((line) => line.startsWith("the agent of node node-2 is not followed yet")),
  );
  ends.more = 1;
  ends.are = false;
  await until("what is new of it was told", () => told().length === 3);
  end.abort();
  await following;
  assert.deepEqual(told(), ["80", "81", "82"]);
  assert.match(one.lines[0] ?? "", /^NODE/);
  const counted = Map.groupBy(one.warnings, (line) => line);
  const counts = [...counted].map(([line, { length }]) => `${length}: ${line}`);
  assert.deepEqual(counts.toSorted(), [
    "1: agents that join are not found: no API server answers; looking on",
    "1: the agent of node node-2 is asked no more: its rights were taken away",
    "1: the agent of node node-2 is not followed yet: its rights were taken away",
    "1: the agent of node node-3 is not followed yet: it is not there yet",
    "2: the agent of node node-2 is followed, too",
  ]);
  assert.ok(closed.includes("node-2") && closed.includes("node-3"), "doors that serve no more are closed");
});

void test("an interrupt is heard while an agent is silent", async (t) => {
  const { show } = await agentThat(t, () => answer("a", []));
  const silent: AgentDoor = { place: "the agent of node node-9", ask: () => new Promise(() => {}), close: () => {} };
  const end = new AbortController();
  const showing = show({ doors: [silent], follow: true, signal: end.signal });
  end.abort();
  assert.equal(await showing, true);
});
