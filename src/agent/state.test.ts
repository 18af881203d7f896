// The state file at start: one's own is kept, another's and a damaged one are set aside whole, anything else stops the start.

import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type TestContext, test } from "node:test";
import { present } from "../base/assert.ts";
import { isFault } from "../base/fault.ts";
import { silentLog } from "../base/log.ts";
import { parseCidr } from "../net/cidr.ts";
import { testAttachment, testIp } from "../../test/store.contract.ts";
import { openState, type State } from "./state.ts";

interface Stand {
  directory: string;
  file: string;
  open: (nodeName?: string) => State;
}

function stand(t: TestContext): Stand {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-state-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const file = join(directory, "fairlead.db");
  const blocks = [present(parseCidr("10.4.1.0/24"), "block")];
  const open = (nodeName = "node-1"): State =>
    openState({ file, nodeName, blocks, log: silentLog(), now: () => Date.UTC(2026, 0, 2) });
  return { directory, file, open };
}

/** A state with one attachment, closed again. */
function used({ open }: Stand): void {
  const { pool, store } = open();
  const attachment = pool.reserve(testAttachment({ addresses: [] }));
  pool.journal(attachment);
  store.close();
}

const held = ({ pool, store }: State): number => {
  const count = pool.all().length;
  store.close();
  return count;
};

test("a node's own state is opened again", (t) => {
  const own = stand(t);
  used(own);
  const again = own.open();
  assert.equal(again.setAside, undefined);
  assert.equal(held(again), 1);
});

test("another node's state is set aside", (t) => {
  const own = stand(t);
  used(own);
  const other = own.open("node-2");
  assert.equal(other.setAside, "foreign");
  assert.equal(other.pool.facts()["node"], "node-2");
  assert.equal(held(other), 0);
  assert.ok(readdirSync(own.directory).includes("fairlead.db.foreign-2026-01-02T000000000Z"));
});

test("a damaged state is set aside with its log, whatever the damage", (t) => {
  const damages: [string, (file: string) => void][] = [
    ["no database", (file) => writeFileSync(file, "text".repeat(4000))],
    ["cut short", (file) => truncateSync(file, 5000)],
    [
      "a record that is none",
      (file) => edit(file, "INSERT INTO attachment VALUES ('a/b/c', 'ready', '{\"addresses\":[\"x\"]}')"),
    ],
    ["an address that is none", (file) => edit(file, "INSERT INTO cooling VALUES ('10.4.1', 5)")],
    [
      "one address twice",
      (file) => edit(file, "INSERT INTO attachment SELECT 'a/b/c', state, record FROM attachment LIMIT 1"),
    ],
    ["a table too few", (file) => edit(file, "DROP TABLE cooling")],
  ];
  for (const [what, damage] of damages) {
    const own = stand(t);
    used(own);
    damage(own.file);
    const opened = own.open();
    assert.equal(opened.setAside, "damaged", what);
    assert.equal(held(opened), 0, what);
    const names = readdirSync(own.directory).filter((name) => name.includes("damaged"));
    assert.ok(names.length >= 1, what);
    assert.equal(own.open().setAside, undefined, `${what}: the new one serves`);
  }
});

function edit(file: string, sql: string): void {
  const database = new DatabaseSync(file);
  database.exec(sql);
  database.close();
}

test("a newer state, one that is held and one that cannot be read stop the start, untouched", (t) => {
  const newer = stand(t);
  used(newer);
  edit(newer.file, "PRAGMA user_version = 99");
  const refused = (own: Stand, words: RegExp): void => {
    const before = readdirSync(own.directory).length;
    assert.throws(
      () => own.open(),
      (error) => isFault(error, "store-failed") && words.test(`${error.message} ${String(error.cause)}`),
    );
    assert.ok(readdirSync(own.directory).length <= before + 2, "at most the log beside it");
  };
  refused(newer, /schema version 99/);
  const busy = stand(t);
  const { store } = busy.open();
  refused(busy, /another process holds it/);
  store.close();
  const blocked = stand(t);
  writeFileSync(join(blocked.directory, "state"), "a file where a directory must be");
  const inFile = { ...blocked, open: () => stateIn(join(blocked.directory, "state", "fairlead.db")) };
  refused(inFile, /cannot open the state file/);
  chmodSync(blocked.directory, 0o700);
});

function stateIn(file: string): State {
  return openState({ file, nodeName: "n", blocks: [], log: silentLog(), now: () => 0 });
}

test("addresses that cooled come back cooling, and to be cleaned up after", (t) => {
  const own = stand(t);
  const { pool, store } = own.open();
  const attachment = pool.reserve(testAttachment());
  pool.journal(attachment);
  pool.release(attachment, { cool: true });
  assert.deepEqual(pool.dead(), [testIp("10.4.1.2")]);
  store.close();
  const again = own.open();
  assert.deepEqual(again.pool.dead(), [testIp("10.4.1.2")]);
  again.pool.cleaned(again.pool.dead());
  assert.deepEqual(again.pool.dead(), []);
  again.store.close();
});
