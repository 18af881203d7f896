// The Store contract on SQLite: one small file beside the agent, write-ahead log, one transaction a call.

import { chmodSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { Fault, isFault } from "../base/fault.ts";
import { decodeIp, decodeRecord, encodeRecord, UnreadableRecord } from "./record.ts";
import { attachmentKey, type Store } from "./store.ts";

/** Grows with every change of the tables; a file of a newer version is refused, never guessed at. */
const schemaVersion = 2;

/** Each call writes one page, a release two: every page costs a write and a checksum within ADD or DEL. */
const schema = `
  CREATE TABLE attachment (
    key    TEXT PRIMARY KEY,
    state  TEXT NOT NULL CHECK (state IN ('planned', 'ready')),
    record TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE cooling (
    address  TEXT PRIMARY KEY,
    until_ms INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE fact (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
  ) STRICT, WITHOUT ROWID;
  PRAGMA user_version = ${schemaVersion};
`;

/** How long opening waits for another process that holds the file: an agent that is just ending, or an operator's sqlite3. */
const lockWaitMs = 2000;

/**
 * Opens or makes the file, readable by root alone, and keeps it for this process until it is closed: two agents on one file
 * would give one address twice.
 * @throws Fault "store-failed" where it cannot be opened, is damaged, is held by another process, or was written by a newer version.
 */
export function openSqliteStore(file: string): Store {
  const { database, statements } = guarded(`cannot open the state file ${file}`, () => open(file));
  const { begin, commit, insert, setReady, remove, cool, free, setFact } = statements;

  const transact = (what: string, change: () => void): void =>
    guarded(what, () => {
      begin.run();
      try {
        change();
        commit.run();
      } catch (error) {
        if (database.isTransaction) database.exec("ROLLBACK");
        throw error;
      }
    });

  return {
    read: () => guarded("cannot read the state file", () => read(database)),
    plan: (attachment) => {
      const key = attachmentKey(attachment);
      guarded(`cannot journal attachment ${key} with ${attachment.addresses.join(", ")}`, () => {
        insert.run(key, encodeRecord(attachment));
      });
    },
    ready: (id) => {
      const key = attachmentKey(id);
      guarded(`cannot mark attachment ${key} ready`, () => {
        if (setReady.run(key).changes !== 1) throw new Error("it is not journalled");
      });
    },
    release: (id, cooling) => {
      const key = attachmentKey(id);
      transact(`cannot release attachment ${key}`, () => {
        remove.run(key);
        for (const { address, untilMs } of cooling) cool.run(address, untilMs);
      });
    },
    free: (addresses) => {
      if (addresses.length === 0) return;
      transact("cannot free cooled addresses", () => {
        for (const address of addresses) free.run(address);
      });
    },
    setFacts: (facts) =>
      transact("cannot write facts", () => {
        for (const [name, value] of Object.entries(facts)) setFact.run(name, value);
      }),
    close: () => {
      if (database.isOpen) database.close();
    },
  };
}

/** Every statement that changes the file. */
function prepare(database: DatabaseSync) {
  return {
    begin: database.prepare("BEGIN IMMEDIATE"),
    commit: database.prepare("COMMIT"),
    insert: database.prepare("INSERT INTO attachment (key, state, record) VALUES (?, 'planned', ?)"),
    setReady: database.prepare("UPDATE attachment SET state = 'ready' WHERE key = ?"),
    remove: database.prepare("DELETE FROM attachment WHERE key = ?"),
    cool: database.prepare("INSERT OR REPLACE INTO cooling (address, until_ms) VALUES (?, ?)"),
    free: database.prepare("DELETE FROM cooling WHERE address = ?"),
    setFact: database.prepare("INSERT OR REPLACE INTO fact (name, value) VALUES (?, ?)"),
  };
}

function open(file: string): { database: DatabaseSync; statements: ReturnType<typeof prepare> } {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const database = new DatabaseSync(file, { timeout: lockWaitMs });
  try {
    chmodSync(file, 0o600);
    // Exclusive before the first access: the log's index is then in memory, and no call takes a lock again.
    database.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL");
    database.exec("PRAGMA trusted_schema = OFF");
    const check = database.prepare("PRAGMA quick_check(1)").get()?.["quick_check"];
    if (check !== "ok") throw new UnreadableRecord(String(check));
    const version = Number(database.prepare("PRAGMA user_version").get()?.["user_version"]);
    if (version === 0) database.exec(`BEGIN IMMEDIATE; ${schema} COMMIT`);
    else if (version !== schemaVersion) {
      throw new Error(
        `it has schema version ${version}, this program knows ${schemaVersion}; use the version that wrote it`,
      );
    }
    return { database, statements: prepare(database) };
  } catch (error) {
    database.close();
    throw isHeld(error)
      ? new Error("another process holds it, an agent or an operator's sqlite3; end that one", { cause: error })
      : error;
  }
}

function read(database: DatabaseSync): ReturnType<Store["read"]> {
  return {
    attachments: database
      .prepare("SELECT state, record FROM attachment ORDER BY key")
      .all()
      .map((row) => ({
        attachment: decodeRecord(String(row["record"])),
        state: row["state"] === "ready" ? "ready" : "planned", // the schema lets no other in
      })),
    cooling: database
      .prepare("SELECT address, until_ms FROM cooling ORDER BY address")
      .all()
      .map((row) => ({ address: decodeIp(row["address"]), untilMs: Number(row["until_ms"]) })),
    facts: Object.fromEntries(
      database
        .prepare("SELECT name, value FROM fact")
        .all()
        .map((row) => [String(row["name"]), String(row["value"])]),
    ),
  };
}

function guarded<T>(what: string, act: () => T): T {
  try {
    return act();
  } catch (cause) {
    if (isFault(cause)) throw cause;
    throw new Fault("store-failed", what, { cause, data: { damaged: isDamage(cause) } });
  }
}

/**
 * SQLITE_ERROR, SQLITE_CORRUPT and SQLITE_NOTADB: the file's content is at fault, not the disk, a lock or a version. The first
 * is what statements of ours get where the tables are not those of the version.
 */
const damageCodes = new Set([1, 11, 26]);

function isDamage(cause: unknown): boolean {
  return cause instanceof UnreadableRecord || damageCodes.has(sqliteCode(cause));
}

/** SQLITE_BUSY, after `lockWaitMs`. */
function isHeld(cause: unknown): boolean {
  return sqliteCode(cause) === 5;
}

/** The primary result code (sqlite.org/rescode.html), 0 where it is none of SQLite's. */
function sqliteCode(cause: unknown): number {
  const code: unknown = cause instanceof Error ? Reflect.get(cause, "errcode") : undefined;
  return typeof code === "number" ? code & 0xff : 0;
}
