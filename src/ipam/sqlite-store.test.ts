// The SQLite store under the contract suite, and what only a file can get wrong.

import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test, type TestContext } from "node:test";
import { isFault } from "../base/fault.ts";
import { testAttachment, testIp, testStore } from "../../test/store.contract.ts";
import { openSqliteStore } from "./sqlite-store.ts";

function freshFile(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-store-"));
  t.after(() => rmSync(directory, { recursive: true }));
  return join(directory, "state", "fairlead.db");
}

const files = new WeakMap<object, string>();

testStore(
  "sqlite store",
  (t) => {
    const file = freshFile(t);
    const store = openSqliteStore(file);
    files.set(store, file);
    t.after(() => store.close());
    return store;
  },
  (store, t) => {
    store.close();
    const again = openSqliteStore(files.get(store) ?? "");
    t.after(() => again.close());
    return again;
  },
);

test("the file and its directory are root's alone, whatever the umask", (t) => {
  const before = process.umask(0);
  t.after(() => process.umask(before));
  const file = freshFile(t);
  openSqliteStore(file).close();
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal(statSync(join(file, "..")).mode & 0o777, 0o700);
});

test("a store that was never closed is whole for the next process", (t) => {
  const file = freshFile(t);
  const killed = openSqliteStore(file);
  killed.plan(testAttachment());
  // What the disk holds at the death of its process.
  const left = join(dirname(file), "..", "left");
  cpSync(dirname(file), left, { recursive: true });
  killed.close();
  const next = openSqliteStore(join(left, "fairlead.db"));
  assert.equal(next.read().attachments.length, 1);
  next.close();
});

test("the file is one process's alone while it is open", (t) => {
  const file = freshFile(t);
  const store = openSqliteStore(file);
  const startedMs = performance.now();
  assert.throws(
    () => openSqliteStore(file),
    (error) => isFault(error, "store-failed") && /another process holds it/.test(String(error.cause)),
  );
  assert.ok(performance.now() - startedMs < 10_000, "in bounded time");
  store.plan(testAttachment());
  store.close();
  openSqliteStore(file).close();
});

test("a change that fails in its middle changes nothing, and the next one works", (t) => {
  const store = openSqliteStore(freshFile(t));
  t.after(() => store.close());
  const attachment = testAttachment();
  store.plan(attachment);
  const [first, second] = [testIp("10.4.1.1"), testIp("10.4.1.2")];
  const broken = [
    { address: first, untilMs: 5000 },
    { address: second, untilMs: 0.5 }, // the column holds whole numbers
  ];
  assert.throws(
    () => store.release(attachment, broken),
    (error) => isFault(error, "store-failed"),
  );
  assert.deepEqual([store.read().attachments.length, store.read().cooling], [1, []]);
  store.release(attachment, [{ address: first, untilMs: 5000 }]);
  assert.deepEqual([store.read().attachments.length, store.read().cooling.length], [0, 1]);
});

test("a file of a newer version is refused and left as it is", (t) => {
  const file = freshFile(t);
  openSqliteStore(file).close();
  const database = new DatabaseSync(file);
  database.exec("PRAGMA user_version = 99");
  database.close();
  assert.throws(
    () => openSqliteStore(file),
    (error) => isFault(error, "store-failed") && /schema version 99/.test(String(error.cause)),
  );
});

test("a damaged file is refused with its name", (t) => {
  const file = freshFile(t);
  openSqliteStore(file).close();
  writeFileSync(file, "this is not a database, but long enough to look at".repeat(100));
  assert.throws(
    () => openSqliteStore(file),
    (error) => isFault(error, "store-failed") && error.message.includes(file),
  );
});
