// The audit at the end of tests: a test that leaves something fails, says what, and everything it made is removed all the same.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test, type TestContext } from "node:test";

const helper = new URL("agent.ts", import.meta.url).href;
const netnsHelper = new URL("netns.ts", import.meta.url).href;

/** Runs `body` as a test of its own process; it has `t`, `agent` and an attached `pod`. */
function runTest(t: TestContext, body: string): { passed: boolean; said: string; netns: string[] } {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-audit-end-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const file = join(directory, "inner.test.ts");
  writeFileSync(
    file,
    `// A test that runs within another, in a process of its own.
    import { test } from "node:test";
    import { startTestAgent } from "${helper}";
    import { makeNetns } from "${netnsHelper}";
    test("inner", async (t) => {
      const agent = await startTestAgent(t);
      const pod = makeNetns(t);
      console.log("made", agent.node.path, pod.path);
      await agent.add({ netns: pod.path });
      ${body}
    });`,
  );
  const { status, stdout } = spawnSync(process.execPath, ["--test", "--test-reporter=tap", file], {
    encoding: "utf8",
    timeout: 60_000,
    env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" },
  });
  const [, ...netns] = /made (\S+) (\S+)/.exec(stdout) ?? [];
  assert.equal(netns.length, 2, stdout);
  return { passed: status === 0, said: stdout, netns };
}

/** Leaves a link that nobody needs, and that no agent takes for its own. */
const leave = 'agent.node.run("ip", "link", "add", "flleft", "type", "bridge");';
const left = 'link flleft ("", group 0) belongs to no attachment';

const cases: [what: string, body: string, passes: boolean, words: string][] = [
  ["nothing left", "", true, "ok 1 - inner"],
  ["something left", leave, false, left],
  ["something left by a test that stopped its agent", `${leave} await agent.stop();`, false, left],
  [
    "something left by a test that has removed its pod",
    `${leave} await agent.cni("DEL", { netns: pod.path }); pod.remove();`,
    false,
    left,
  ],
  ["something left on purpose", `${leave} agent.audit.expectDamage(/flleft/, "for a try");`, true, "ok 1 - inner"],
  [
    "nothing left though something was to stay",
    'agent.audit.expectDamage(/flleft/, "for a try");',
    false,
    "nothing is wrong that /flleft/ would match, though it was expected (for a try)",
  ],
  ["a test that fails by itself and leaves something", `${leave} throw new Error("of its own");`, false, left],
];

for (const [what, body, passes, words] of cases) {
  test(what, (t) => {
    const { passed, said, netns } = runTest(t, body);
    assert.equal(passed, passes, said);
    assert.ok(said.includes(words), said);
    assert.deepEqual(netns.filter(existsSync), [], "its namespaces are gone");
  });
}
