// The agent's state file, read from a copy: the agent holds the file itself, and no look of ours may loosen its lock.

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe } from "../../src/base/fault.ts";
import { exec, failureText } from "../exec.ts";
import { readJson } from "../json.ts";
import { type Living, livingOfRecord, recordSchema } from "./living.ts";

/** What the file is called in the agent's state directory. */
export const stateFile = "fairlead.db";

/** The layout of tables that this reader knows (PRAGMA user_version). */
const schemaVersion = 2;

export interface Journalled {
  /** "planned" or "ready". */
  state: string;
  living: Living;
}

export interface Journal {
  attachments: Journalled[];
  /** As they stand in the file: the addresses may be none. */
  cooling: { address: string; untilMs: number }[];
  facts: ReadonlyMap<string, string>;
  /** Records that cannot be read, one sentence each. */
  unreadable: string[];
}

/**
 * Copies the file and its write-ahead log, and reads the copy; gives a sentence on what is wrong where that cannot be done.
 * A program of its own makes the copy: closing any descriptor of a file drops all locks that the process holds on it
 * (fcntl(2)), and the agent of a test lives in this process.
 */
export async function readJournal(
  stateDirectory: string,
  env: Readonly<Record<string, string>>,
): Promise<Journal | string> {
  const original = join(stateDirectory, stateFile);
  const copies = mkdtempSync(join(tmpdir(), "fairlead-audit-"));
  try {
    // There is no log beside the file of an agent that stopped: then the program fails on that alone.
    const outcome = await exec("cp", ["--", original, `${original}-wal`, copies], { env });
    const copy = join(copies, stateFile);
    return existsSync(copy) ? read(copy) : failureText(outcome);
  } catch (error) {
    return describe(error);
  } finally {
    rmSync(copies, { recursive: true });
  }
}

function read(file: string): Journal | string {
  const database = new DatabaseSync(file, { readOnly: true });
  try {
    const version = Number(database.prepare("PRAGMA user_version").get()?.["user_version"]);
    if (version !== schemaVersion) return `its tables have layout ${version}, the audit reads ${schemaVersion}`;
    const journal: Journal = { attachments: [], cooling: [], facts: new Map(), unreadable: [] };
    for (const { key, state, record } of database.prepare("SELECT key, state, record FROM attachment").all()) {
      try {
        const living = livingOfRecord(readJson(recordSchema, String(record), `the record of ${String(key)}`));
        if (living.name === key) journal.attachments.push({ state: String(state), living });
        else journal.unreadable.push(`the record of ${String(key)} is that of ${living.name}`);
      } catch (error) {
        journal.unreadable.push(describe(error));
      }
    }
    const cooling = database.prepare("SELECT address, until_ms FROM cooling").all();
    const facts = database.prepare("SELECT name, value FROM fact").all();
    return {
      ...journal,
      cooling: cooling.map((row) => ({ address: String(row["address"]), untilMs: Number(row["until_ms"]) })),
      facts: new Map(facts.map(({ name, value }) => [String(name), String(value)])),
    };
  } finally {
    database.close();
  }
}
