// A watch as a response that goes on: its lines, what a slow or stalled client may pile up, and its end.

import { randomInt } from "node:crypto";
import type { ServerResponse } from "node:http";
import type { Gate } from "./faults.ts";
import type { Call } from "./call.ts";
import { checkListOptions, readSelection, readVersion } from "./list.ts";
import { shelfOf } from "./resource.ts";
import type { ApiState } from "./state.ts";
import { badRequest } from "./status.ts";
import { table, wantsTable } from "./table.ts";
import { textAt } from "./value.ts";
import { type WatchPeer, type WatchWish, versionRefusal, watch } from "./watch.ts";

/** What a client may leave unread before its watch is ended; it lists anew then. */
const unreadMaxBytes = 64 * 1024 * 1024;

export interface WatchSettings {
  bookmarkEveryMs: number;
  /** Where the client does not say: between this and twice this. */
  timeoutMs: number;
  /** How a version that is compacted is told: as an event of a watch that began, or as the answer's status. */
  expiredAs: "event" | "status";
}

export interface WatchRun {
  settings: WatchSettings;
  response: ServerResponse;
  signal: AbortSignal;
  /** While any is shut, nothing is sent. */
  gates: readonly Gate[];
  /** Never sends anything. */
  stalled: boolean;
  onBegun: () => void;
  onSent: (bytes: number) => void;
}

/** Runs until the watch ends; the response has ended then. @throws Refusal before anything was sent */
export async function serveWatch(state: ApiState, call: Call, run: WatchRun): Promise<void> {
  const wish = readWatch(call, run.settings);
  if (
    run.settings.expiredAs === "status" &&
    wish.version !== undefined &&
    wish.version > 0 &&
    wish.initialEvents === undefined
  ) {
    const refusal = versionRefusal(state.store, shelfOf(wish.resource), wish.version);
    if (refusal !== undefined) throw refusal;
  }
  const { response, signal } = run;
  response.writeHead(200, { "content-type": "application/json", "cache-control": "no-cache, private" });
  response.flushHeaders();
  run.onBegun();
  await watch(state.store, wish, { ...createPeer(run), ...tableRows(call), signal });
  response.end();
}

function createPeer({ response, gates, stalled, onSent, signal }: WatchRun): Pick<WatchPeer, "send"> {
  let held: Buffer[] = [];
  let heldBytes = 0;
  const write = (line: Buffer): void => {
    onSent(line.length);
    response.write(line);
    if (response.writableLength > unreadMaxBytes) response.destroy();
  };
  const mayTell = (): boolean => gates.every((gate) => gate.isOpen());
  const tellHeld = (): void => {
    if (!mayTell()) return;
    for (const line of held) write(line);
    held = [];
    heldBytes = 0;
  };
  for (const gate of gates) signal.addEventListener("abort", gate.onOpen(tellHeld), { once: true });
  return {
    send: (line) => {
      if (stalled || response.destroyed) return;
      if (mayTell()) return write(line);
      held.push(line);
      heldBytes += line.length;
      if (heldBytes > unreadMaxBytes) response.destroy();
    },
  };
}

/** Events whose objects are tables of one row; the headings stand in the first only. */
function tableRows({ route, accept }: Call): Pick<WatchPeer, "encode"> {
  if (!wantsTable(accept)) return {};
  let headings = true;
  const includeObject = route.query.get("includeObject") ?? "Metadata";
  return {
    encode: (object) => {
      const metadata = { resourceVersion: textAt(object, "metadata", "resourceVersion") ?? "" };
      const row = table(route.resource, [object], { includeObject, headings, metadata });
      headings = false;
      return row;
    },
  };
}

function readWatch({ route }: Call, { bookmarkEveryMs, timeoutMs }: WatchSettings): WatchWish {
  const { resource, namespace, name, query } = route;
  checkListOptions(query, true);
  if (name !== undefined) throw badRequest("watch a single object by fieldSelector=metadata.name=NAME");
  const initial = query.get("sendInitialEvents");
  const seconds = query.get("timeoutSeconds");
  if (seconds !== null && !/^\d{1,9}$/.test(seconds))
    throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(seconds)}: invalid syntax`);
  return {
    resource,
    selection: readSelection(query, resource, namespace),
    version: readVersion(query),
    initialEvents: initial === null ? undefined : initial === "true" || initial === "1",
    bookmarks: ["true", "1"].includes(query.get("allowWatchBookmarks") ?? ""),
    timeoutMs: Number(seconds ?? 0) > 0 ? Number(seconds) * 1000 : timeoutMs + randomInt(Math.max(1, timeoutMs)),
    bookmarkEveryMs,
  };
}
