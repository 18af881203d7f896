// One watch: which events it tells of a resource, from which version on, with bookmarks, until its time is up.

import { pause } from "../../src/base/pause.ts";
import { type Selection, selects } from "./list.ts";
import { type Resource, apiVersionOf, shelfOf } from "./resource.ts";
import { type Refusal, expired, tooLargeVersion } from "./status.ts";
import type { Change, Store, Stored } from "./store.ts";
import type { JsonObject } from "./value.ts";

export interface WatchWish {
  resource: Resource;
  selection: Selection;
  /** Undefined: all objects first, then changes; 0: the same; else what came after. */
  version: number | undefined;
  /** True: objects first, and a bookmark that says when they are all told. False: changes only. */
  initialEvents: boolean | undefined;
  bookmarks: boolean;
  /** Ms until the server ends the watch. */
  timeoutMs: number;
  /** Ms between two bookmarks. */
  bookmarkEveryMs: number;
}

export interface WatchPeer {
  /** Sends a line. */
  send(line: Buffer): void;
  /** Writes an object otherwise than as it is stored (a Table); its lines are then not shared. */
  encode?: (object: JsonObject) => JsonObject;
  /** Aborts when the client is gone or the server stops. */
  signal: AbortSignal;
}

type EventType = "ADDED" | "MODIFIED" | "DELETED";

/** The lines of an object's version are made once for all watches that send them. */
const lines = new WeakMap<Stored, Partial<Record<EventType, Buffer>>>();
const newline = Buffer.from("}\n");

function lineOf(type: EventType, stored: Stored): Buffer {
  const known = lines.get(stored) ?? {};
  lines.set(stored, known);
  return (known[type] ??= Buffer.concat([Buffer.from(`{"type":"${type}","object":`), stored.encoded(), newline]));
}

/** What a watch with this selection is told of a change; undefined for nothing. */
function told(selection: Selection, { type, before, after }: Change): EventType | undefined {
  const was = before !== undefined && selects(selection, before);
  const is = type !== "DELETED" && selects(selection, after);
  if (type === "DELETED") return was ? "DELETED" : undefined;
  if (was) return is ? "MODIFIED" : "DELETED";
  return is ? "ADDED" : undefined;
}

/** Marks the bookmark after which a watch has told all that was there. */
export const initialEventsEnd = "k8s.io/initial-events-end";

/**
 * Tells a peer until its time is up or its signal aborts. A version that is compacted ends it with an ERROR event, as the server's
 * watch cache does.
 */
export async function watch(store: Store, wish: WatchWish, peer: WatchPeer): Promise<void> {
  const { resource, selection, version, initialEvents, bookmarks, timeoutMs, bookmarkEveryMs } = wish;
  const shelf = shelfOf(resource);
  const tell = (type: EventType, stored: Stored): void =>
    peer.send(
      peer.encode === undefined
        ? lineOf(type, stored)
        : Buffer.from(`${JSON.stringify({ type, object: peer.encode(stored.object) })}\n`),
    );
  const bookmark = (annotations?: JsonObject): void => {
    const metadata = {
      resourceVersion: String(store.version()),
      ...(annotations === undefined ? {} : { annotations }),
    };
    const object = { kind: resource.kind, apiVersion: apiVersionOf(resource), metadata };
    peer.send(Buffer.from(`${JSON.stringify({ type: "BOOKMARK", object })}\n`));
  };
  const onChange = (change: Change): void => {
    const type = told(selection, change);
    if (type !== undefined) tell(type, type === "DELETED" ? lastState(change) : change.after);
  };

  const all = initialEvents ?? (version === undefined || version === 0);
  if (all) {
    for (const stored of store.list(shelf) ?? []) if (selects(selection, stored)) tell("ADDED", stored);
    if (initialEvents === true && bookmarks) bookmark({ [initialEventsEnd]: "true" });
  } else {
    const from = version === undefined || version === 0 ? store.version() : version;
    const refusal = versionRefusal(store, shelf, from);
    if (refusal !== undefined) {
      peer.send(Buffer.from(`${JSON.stringify({ type: "ERROR", object: refusal.body() })}\n`));
      return;
    }
    for (const change of store.changesSince(shelf, from) ?? []) onChange(change);
  }
  const stop = store.subscribe(shelf, onChange, selection.equals);
  try {
    const endMs = performance.now() + timeoutMs;
    for (let leftMs = timeoutMs; leftMs > 0 && !peer.signal.aborted; leftMs = endMs - performance.now()) {
      await pause(Math.min(leftMs, bookmarkEveryMs), peer.signal);
      if (bookmarks && !peer.signal.aborted) bookmark();
    }
  } finally {
    stop();
  }
}

/** A deletion from the selection carries the version of the change that caused it, and the object as it was when it last matched. */
function lastState({ type, before, after, version }: Change): Stored {
  if (type === "DELETED" || before === undefined) return after;
  return leftStates.get(after) ?? remember(after, before, version);
}

const leftStates = new WeakMap<Stored, Stored>();

function remember(after: Stored, before: Stored, version: number): Stored {
  const metadata = before.object["metadata"];
  const own = typeof metadata === "object" && !Array.isArray(metadata) ? metadata : {};
  const object = { ...before.object, metadata: { ...own, resourceVersion: String(version) } };
  let json: Buffer | undefined;
  const left: Stored = {
    key: before.key,
    version,
    object,
    encoded: () => (json ??= Buffer.from(JSON.stringify(object))),
  };
  leftStates.set(after, left);
  return left;
}

/** Why a watch cannot begin after a version; undefined where it can. */
export function versionRefusal(store: Store, shelf: string, version: number): Refusal | undefined {
  if (version > store.version()) return tooLargeVersion(version, store.version());
  return store.changesSince(shelf, version) === undefined
    ? expired(`too old resource version: ${version} (${store.compacted(shelf)})`)
    : undefined;
}
