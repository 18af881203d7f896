// What the log says of one attachment: from the plugin's call to the removal of its link every line has one name for it.

import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startTestAgent } from "../../test/agent.ts";
import { makeNetns } from "../../test/netns.ts";
import { until } from "../../test/until.ts";
import { createLog } from "../base/log.ts";

interface Line {
  verb?: string;
  msg: string;
  attachment?: string;
  attachments?: string[];
}

test("one attachment has one name in the log, from the plugin's call to the end of its link", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-log-"));
  const file = join(directory, "log");
  const fd = openSync(file, "a");
  const agent = await startTestAgent(t, { log: createLog("fairlead-agent", { fd }) });
  t.after(() => {
    closeSync(fd);
    rmSync(directory, { recursive: true });
  });
  const pod = makeNetns(t);
  const name = "fairlead/c1/eth0";
  const said = (): string[] =>
    readFileSync(file, "utf8")
      .split("\n")
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Line)
      .filter(({ attachment, attachments = [] }) => attachment === name || attachments.includes(name))
      .map(({ verb, msg }) => (verb === undefined ? msg : `${verb} ${msg}`));
  await agent.add({ netns: pod.path });
  agent.node.run("ip", "route", "delete", "10.4.1.2");
  await until("the route is repaired", () => said().includes("repaired"));
  assert.equal((await agent.cni("DEL", { netns: pod.path })).exitCode, 0);
  await until("both ends are told", () => said().length >= 4);
  assert.deepEqual(said().slice(0, 2), ["ADD done", "repaired"]);
  // The removal has a thread of its own, and may be done before the answer is.
  assert.deepEqual(said().slice(2).sort(), ["DEL done", "links removed"]);
});
