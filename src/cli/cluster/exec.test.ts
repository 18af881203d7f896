// Programs in pods by exec: what is asked for, one fetching of credentials for all, and servers that refuse, fall silent or write nonsense.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type ExecBehaviour, type Program, startExecServer } from "../../../test/exec-server.ts";
import { faultSaying } from "../../../test/kernel-stage.ts";
import { createExec } from "./exec.ts";

const program = { namespace: "fairlead-system", container: "agent", command: ["fairlead", "ask"] };
const answers = (line: string, { write }: Program): void => write(1, `${JSON.stringify({ answer: line })}\n`);

void test("the program runs in the pod that is meant, and credentials are fetched once for all pods", async (t) => {
  const { place, paths, credentialRuns } = await startExecServer(t, { onLine: answers });
  const open = createExec({ place }, program);
  const opened = await Promise.all(["one", "two", "three"].map((pod) => open(pod, `the agent of ${pod}`)));
  assert.deepEqual(await Promise.all(opened.map(({ talk }) => talk.ask("/policy"))), ["/policy", "/policy", "/policy"]);
  assert.equal(credentialRuns(), 1);
  const [first] = paths.toSorted();
  assert.match(
    first ?? "",
    /^\/api\/v1\/namespaces\/fairlead-system\/pods\/one\/exec\?.*tty=false&command=fairlead&command=ask&container=agent$/,
  );
  for (const { close } of opened) close();
});

void test("credentials that are refused are fetched again for the next one; a right that is missing is named", async (t) => {
  let refusal: 401 | 403 | undefined = 401;
  const { place, credentialRuns } = await startExecServer(t, { onLine: answers, refuses: () => refusal });
  const open = createExec({ place }, program);
  await assert.rejects(
    open("one", "the agent of n1"),
    faultSaying("kube-unauthorized", /does not take these credentials/),
  );
  refusal = 403;
  const missing = /^agents cannot be asked: the right to create pods\/exec in namespace fairlead-system is missing$/;
  await assert.rejects(open("one", "the agent of n1"), faultSaying("kube-refused", missing));
  assert.equal(credentialRuns(), 2);
  refusal = undefined;
  const { talk, close } = await open("one", "the agent of n1");
  assert.equal(await talk.ask("/a"), "/a");
  assert.equal(credentialRuns(), 2);
  close();
});

void test("credentials that could not be fetched are fetched again for the next one", async (t) => {
  const { place, credentialRuns } = await startExecServer(t, { onLine: answers, credentialFailures: 1 });
  const open = createExec({ place }, program);
  await assert.rejects(open("one", "the agent of n1"), faultSaying("kube-unauthorized", /could not be fetched/));
  const { talk, close } = await open("one", "the agent of n1");
  assert.equal(await talk.ask("/a"), "/a");
  assert.equal(credentialRuns(), 2);
  close();
});

const nonsense: [what: string, onLine: ExecBehaviour["onLine"], says: RegExp][] = [
  ["an unknown stream", (_line, { write }) => write(9, "x"), /something came that is no answer of exec/],
  ["a status that is no JSON", (_line, { write }) => write(3, "x"), /something came that is no answer of exec/],
  ["a failure", (_line, { write }) => write(3, '{"status":"Failure","message":"exit code 1"}'), /exit code 1/],
  ["last words", (_line, { write, end }) => (write(2, "fairlead: not now\n"), end("cut")), /asked: fairlead: not now$/],
  ["an end", (_line, { end }) => end("close"), /the connection ended/],
  ["a cut", (_line, { end }) => end("cut"), /the connection ended/],
];

for (const [what, onLine, says] of nonsense) {
  void test(`${what} in place of an answer ends that talk and nothing else`, async (t) => {
    const { place } = await startExecServer(t, { onLine });
    const { talk, close } = await createExec({ place }, program)("one", "the agent of n1");
    await assert.rejects(talk.ask("/a"), faultSaying("io-failure", says));
    assert.ok(talk.isOver());
    close();
  });
}

void test("what comes after the end of a program is nobody's", async (t) => {
  const onLine = (line: string, started: Program): void => {
    answers(line, started);
    started.write(3, '{"status":"Success"}');
    started.write(1, "more\n");
    started.write(2, "and more\n");
    started.end("close");
  };
  const { place } = await startExecServer(t, { onLine });
  const { talk, close } = await createExec({ place }, program)("one", "the agent of n1");
  assert.equal(await talk.ask("/a"), "/a");
  await assert.rejects(talk.ask("/b"), faultSaying("io-failure", /it ended/));
  close();
});

void test("a server that does not answer is given up, and keeps nothing alive", async (t) => {
  const { place } = await startExecServer(t, { onLine: answers, refuses: () => "nothing" });
  const open = createExec({ place }, program, { openWaitMs: 200, closeWaitMs: 200 });
  await assert.rejects(
    open("one", "the agent of n1"),
    faultSaying("io-failure", /n1 cannot be asked by exec .* timed out/),
  );
});
