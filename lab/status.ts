// What is in a lab, told from its directory and record alone: any process can ask, whoever made it.

import { readdirSync } from "node:fs";
import { Fault } from "../src/base/fault.ts";
import { formatTable } from "../src/base/table.ts";
import { nodeNetns } from "./layout.ts";
import { isAlive, parseProcessId } from "./process.ts";
import { labDirectory, readRecord, type RecordContent } from "./record.ts";
import { readSandboxes } from "./runtime.ts";

/** The record of a lab. @throws Fault "lab-failed" where there is no such lab. */
export function recordOf(lab: string): RecordContent {
  const record = readRecord(lab);
  if (record === undefined) throw new Fault("lab-failed", `there is no lab ${lab}; make one with: fairlead lab up`);
  return record;
}

/** Nodes, agents, pods and their addresses. */
export function statusText(lab: string): string {
  const { things, owner } = recordOf(lab);
  const running = new Set(
    things.flatMap(({ kind, name, identity = "" }) => {
      const id = kind === "process" ? parseProcessId(identity) : undefined;
      return id !== undefined && isAlive(id) ? [name] : [];
    }),
  );
  const rows: string[][] = [];
  const nodes = readdirSync(labDirectory(lab)).filter((name) => name.startsWith("node-"));
  for (const node of nodes.sort()) {
    rows.push([node, "", running.has(`agent ${node}`) ? "agent runs" : "agent down", nodeNetns(lab, node)]);
    for (const { pod, netns, result } of readSandboxes(`${labDirectory(lab)}/${node}`)) {
      const addresses = Object.values(result?.addresses ?? {}).join(", ");
      rows.push([`  ${pod}`, addresses, result === undefined ? "not attached" : "attached", netns]);
    }
  }
  const busy = owner.pid !== process.pid && isAlive(owner) ? ` (process ${owner.pid} works on it)` : "";
  return `lab ${lab}${busy}\n${formatTable(["node / pod", "addresses", "state", "namespace"], rows)}`;
}
