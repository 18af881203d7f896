// Conformance 16, second part: the agent is killed at every step: calls end in time, nothing leaks, and the next agent goes on.

import assert from "node:assert/strict";
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { until } from "../until.ts";
import { makeProcessNode, type ProcessNode } from "./agent-process.ts";
import { bare, globalAddressesIn, reachable } from "./eyes.ts";
import { makePod, type Pod, recorded, type Scope } from "./node.ts";
import { refused, type Result, resultOf, silent } from "./runtime.ts";

/** Kernel calls of one verb, more than it makes. */
const callsMax = 30;

const answers = ({ socket }: ProcessNode): Promise<boolean> =>
  recorded(socket).then(
    () => true,
    () => false,
  );

interface Series {
  verb: "ADD" | "DEL";
  when: "before" | "after";
  /** What must hold of the pod once the next agent serves. */
  look: (node: ProcessNode, pod: Pod) => Promise<void>;
}

/** Kills an agent before or after the n-th kernel call of `verb`, for each n. Gives how often one died. */
async function killSeries(t: Scope, { verb, when, look }: Series): Promise<number> {
  const node = makeProcessNode(t);
  await node.start();
  for (let at = 1; at <= callsMax; at += 1) {
    const pod = makePod(t);
    if (verb === "DEL") resultOf(await node.call("ADD", pod));
    await node.arm({ at, when });
    const outcome = await node.call(verb, pod);
    if (await answers(node)) {
      assert.equal(outcome.exitCode, 0, outcome.stdout);
      return at - 1;
    }
    // An ADD that was answered has made its calls; what killed the agent since is one of what goes on behind it.
    if (verb === "ADD" && outcome.exitCode === 0) return at - 1;
    await until("the agent is dead", () => !node.alive());
    if (verb === "ADD") refused(outcome, 11, "agent");
    else silent(outcome);
    assert.ok(outcome.tookMs < 10_000, `${outcome.tookMs} ms`);
    await node.start();
    await look(node, pod);
  }
  return assert.fail(`${verb} makes more than ${callsMax} kernel calls`);
}

test("16.4 the agent is killed at each kernel call of ADD: the call may be tried again, and nothing leaks", async (t) => {
  const look = async (node: ProcessNode, pod: Pod): Promise<void> => {
    // An ADD that was done but not answered may stand whole; one that was not done leaves nothing, even without DEL.
    const held = (await recorded(node.socket)) as { state: string }[];
    for (const { state } of held) assert.equal(state, "ready", "nothing half made is kept");
    if (held.length === 0) await bare(node);
    else {
      const ips = globalAddressesIn(pod.ns, "eth0").map((address) => ({ address }));
      assert.equal(ips.length, 2, "it is whole");
      reachable(node, pod.ns, { ips });
    }
    silent(await node.call("DEL", pod));
    await bare(node);
    reachable(node, pod.ns, resultOf(await node.call("ADD", pod)));
    silent(await node.call("DEL", pod));
    await bare(node);
  };
  const series = (["before", "after"] as const).map((when) => killSeries(t, { verb: "ADD", when, look }));
  for (const deaths of await Promise.all(series)) assert.ok(deaths >= 3, `${deaths} deaths`);
});

test("16.5 the agent is killed at each kernel call of DEL: the DEL succeeds, and is done by the next agent", async (t) => {
  const look = async (node: ProcessNode, pod: Pod): Promise<void> => {
    await bare(node);
    await until("no record is left", async () => (await recorded(node.socket)).length === 0);
    silent(await node.call("DEL", pod));
  };
  const deaths = await killSeries(t, { verb: "DEL", when: "before", look });
  assert.ok(deaths >= 2, `${deaths} deaths`);
});

test("16.6 the agent is killed under many ADDs: what was answered stays, the rest leaves nothing", async (t) => {
  const node = makeProcessNode(t);
  await node.start();
  const pods = Array.from({ length: 20 }, () => makePod(t));
  await node.arm({ at: 40, when: "after" });
  const outcomes = await Promise.all(pods.map((pod) => node.call("ADD", pod)));
  await until("the agent is dead", () => !node.alive());
  await node.start();
  let answered = 0;
  for (const [index, outcome] of outcomes.entries()) {
    const pod = pods[index] ?? makePod(t);
    if (outcome.exitCode === 0) {
      answered += 1;
      const prevResult: Result = resultOf(outcome);
      silent(await node.call("CHECK", pod, { conf: { prevResult } }));
      reachable(node, pod.ns, prevResult);
    } else refused(outcome, 11);
  }
  assert.ok(answered < 20);
  assert.ok((await recorded(node.socket)).length >= answered);
  for (const pod of pods) silent(await node.call("DEL", pod));
  await bare(node);
  assert.deepEqual(await recorded(node.socket), []);
});

test("16.7 modes of files and sockets do not hang on the mask that the agent was started under", async (t) => {
  for (const umask of ["000", "077"]) {
    const node = makeProcessNode(t);
    await node.start(umask);
    resultOf(await node.call("ADD", makePod(t)));
    const mode = (...path: string[]): string => (statSync(join(node.directory, ...path)).mode & 0o7777).toString(8);
    assert.deepEqual(
      {
        plugin: mode("bin", "fairlead-cni"),
        list: mode("conf", "10-fairlead.conflist"),
        state: mode("state"),
        records: readdirSync(join(node.directory, "state"))
          .map((file) => mode("state", file))
          .filter((text) => text !== "600"),
        sockets: mode("run"),
        socket: mode("run", "cni.sock"),
        status: mode("run", "status.sock"),
        releases: mode("run", "releases"),
      },
      {
        plugin: "755",
        list: "644",
        state: "700",
        records: [],
        sockets: "700",
        socket: "600",
        status: "600",
        releases: "700",
      },
      `mask ${umask}`,
    );
  }
});

/** Where the descriptors of a process lead that a program which it runs would get, 0 to 2 left out. */
function inheritable(pid: number): string[] {
  const closeOnExec = 0o2000000; // O_CLOEXEC, as fdinfo shows it (proc(5))
  return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      const flags = /^flags:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, "utf8"))?.[1] ?? "0";
      const closes = (Number.parseInt(flags, 8) & closeOnExec) !== 0;
      return closes || Number(fd) <= 2 ? [] : [readlinkSync(`/proc/${pid}/fd/${fd}`)];
    } catch {
      return []; // closed since it was listed
    }
  });
}

test("16.8 no descriptor of the agent would be inherited by what it runs, and none is left open by calls", async (t) => {
  const node = makeProcessNode(t);
  const pid = await node.start();
  const descriptors = (): string[] => readdirSync(`/proc/${pid}/fd`);
  const cycle = async (): Promise<void> => {
    const pods = Array.from({ length: 10 }, () => makePod(t));
    for (const outcome of await Promise.all(pods.map((pod) => node.call("ADD", pod)))) resultOf(outcome);
    for (const outcome of await Promise.all(pods.map((pod) => node.call("DEL", pod)))) silent(outcome);
    refused(await node.call("ADD", makePod(t), { env: { CNI_NETNS: "/nowhere" } }), "any");
    await bare(node);
  };
  await cycle(); // what is opened once
  const before = descriptors().length;
  for (let times = 0; times < 3; times += 1) await cycle();
  await until("the descriptors are as many as before", () => descriptors().length <= before);
  // What this test's own starter left open in all of us is none of the agent's.
  const inherited = new Set(inheritable(process.pid));
  assert.deepEqual(
    inheritable(pid).filter((target) => !inherited.has(target)),
    [],
  );
  assert.doesNotMatch(node.ns.run("ps", "-eo", "stat=,ppid="), new RegExp(`^Z.* ${pid}$`, "m"), "no zombie");
});
