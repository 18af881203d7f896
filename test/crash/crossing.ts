// Every way out of an agent that leaves a mark, the addon and the statements of its state file, led over one place where it can end or fail.

import { AsyncLocalStorage } from "node:async_hooks";
import { Socket } from "node:net";
import { DatabaseSync, type SQLInputValue, type StatementResultingChanges, StatementSync } from "node:sqlite";
import type { Addon } from "../../src/kernel/addon.ts";
import type { Crossing, Fate } from "./death.ts";

const callers = new AsyncLocalStorage<true>();

/** True in all that is done for somebody who called, by an agent whose addon is led over a crossing. */
export const isForCaller = (): boolean => callers.getStore() === true;

/** True in what the reaper does. */
export const isReaper = (): boolean => new Error("whose").stack?.includes("/agent/reaper.ts:") === true;

/** What cannot fail; of the rest, what is done when it returns fails without having been made. */
const neverFails = new Set(["netnsId", "descriptorNumber", "takeOver", "close", "stop", "write"]);
const isForLater = (name: string): boolean =>
  /^(?:call|firstPart|nextPart|writeSysctls|readSysctls|tcxPrograms) /.test(name);

/** The error that the addon or SQLite gives where a call of that name fails; undefined where it cannot, or not after it was made. */
export function failureOf(name: string, { when, errno = "ENOMEM" }: Pick<Fate, "when" | "errno">): Error | undefined {
  if (neverFails.has(name) || (when === "after" && !isForLater(name))) return undefined;
  // SQLITE_FULL, as node:sqlite tells it.
  if (name.startsWith("sql ")) return Object.assign(new Error("database or disk is full"), { errcode: 13 });
  return Object.assign(new Error(`${name}: planned (${errno})`), { code: errno });
}

/** Gives `addon` with each of its calls led over `crossing`. */
export function crossAddon(addon: Addon, { now, soon }: Crossing): Addon {
  return {
    openNetns: (path) => now("openNetns", () => addon.openNetns(path)),
    netnsId: (netns) => now("netnsId", () => addon.netnsId(netns)),
    descriptorNumber: (netns) => now("descriptorNumber", () => addon.descriptorNumber(netns)),
    openNetlink: (netns, protocol) => now(`openNetlink ${protocol}`, () => addon.openNetlink(netns, protocol)),
    call: (lane, socket, request, timeoutMs) =>
      soon(`call ${lane} ${firstType(request)}`, () => addon.call(lane, socket, request, timeoutMs)),
    firstPart: (lane, socket, request, timeoutMs) =>
      soon(`firstPart ${firstType(request)}`, () => addon.firstPart(lane, socket, request, timeoutMs)),
    nextPart: (lane, socket, request, timeoutMs) =>
      soon(`nextPart ${firstType(request)}`, () => addon.nextPart(lane, socket, request, timeoutMs)),
    monitor: (socket, groups, onDatagram) => now("monitor", () => addon.monitor(socket, groups, onDatagram)),
    writeSysctls: (netns, keys, values) =>
      soon(`writeSysctls ${keys[0]}`, () => addon.writeSysctls(netns, keys, values)),
    readSysctls: (netns, keys) => soon(`readSysctls ${keys[0]}`, () => addon.readSysctls(netns, keys)),
    tcxPrograms: (netns, links) => soon(`tcxPrograms ${links.length}`, () => addon.tcxPrograms(netns, links)),
    listen: (path, backlog, onCaller) => {
      const led: typeof onCaller = (...caller) => callers.run(true, () => onCaller(...caller));
      return now("listen", () => addon.listen(path, backlog, led));
    },
    send: (connection, bytes) => now("send", () => addon.send(connection, bytes)),
    takeOver: (connection) => now("takeOver", () => addon.takeOver(connection)),
    releaseProgram: (part, parts) => addon.releaseProgram(part, parts),
    close: (descriptor) => now("close", () => addon.close(descriptor)),
    stop: () => now("stop", () => addon.stop()),
  };
}

/** Type of the first netlink message, behind its length (struct nlmsghdr). */
function firstType(request: Uint8Array): string {
  return `type ${new DataView(request.buffer, request.byteOffset).getUint16(4, true)}`;
}

/** Leads each statement of this process that changes a state file over the crossing that `present` gives, BEGIN and COMMIT too. */
export function crossStatements(present: () => Crossing | undefined): void {
  const { run } = StatementSync.prototype;
  const { exec } = DatabaseSync.prototype;
  StatementSync.prototype.run = function (
    this: StatementSync,
    ...values: (SQLInputValue | Record<string, SQLInputValue>)[]
  ) {
    const work = (): StatementResultingChanges => Reflect.apply(run, this, values);
    const crossing = present();
    return crossing === undefined ? work() : crossing.now(`sql ${firstWords(this.sourceSQL)}`, work);
  };
  DatabaseSync.prototype.exec = function (this: DatabaseSync, sql: string) {
    const crossing = present();
    if (crossing === undefined) exec.call(this, sql);
    else crossing.now(`sql ${firstWords(sql)}`, () => exec.call(this, sql));
  };
}

/** Leads what is written to connections over the crossing that `present` gives: answers to callers who sent their request in parts. */
export function crossConnections(present: () => Crossing | undefined): void {
  const { write } = Socket.prototype;
  Socket.prototype.write = function (this: Socket, ...values: unknown[]) {
    const work = (): boolean => Reflect.apply(write, this, values);
    const crossing = present();
    return crossing === undefined ? work() : crossing.now("write", work);
  };
}

function firstWords(sql: string): string {
  return sql.trim().split(/\s+/).slice(0, 3).join(" ");
}
