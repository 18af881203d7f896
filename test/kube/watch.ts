// The watch of a test's API server: true changes in order, in chunks cut anywhere, and the ends that a test wants.

import type { ServerResponse } from "node:http";
import type { Chance } from "./chance.ts";
import type { Change, Place, Store } from "./store.ts";

export interface WatchWhim {
  /**
   * How it ends, once `after` events have been sent: in order, broken, mute with the connection held, in the middle of a line, with
   * an error event, with bytes that are no event, or by closing our half alone.
   */
  end?: "in order" | "broken" | "silent" | "half a line" | "expired" | "garbage" | "half closed";
  after?: number;
  /** Cuts what is sent into pieces of up to 120 bytes, wherever that is. */
  cut?: Chance;
  /** Every so many events a bookmark follows. */
  bookmarkEvery?: number;
  /** Changes elsewhere come as bookmarks: how far this watch has got. */
  bookmarkOthers?: boolean;
}

export function serveWatch(
  store: Store,
  place: Place,
  query: URLSearchParams,
  response: ServerResponse,
  whim: WatchWhim,
): void {
  const missed = store.changesAfter(Number(query.get("resourceVersion") ?? "0"));
  if (missed === undefined) {
    const gone = { kind: "Status", code: 410, reason: "Expired", message: "too old resource version" };
    response.writeHead(410, { "content-type": "application/json" }).end(JSON.stringify(gone));
    return;
  }
  response.writeHead(200, { "content-type": "application/json" });
  response.flushHeaders();
  const out = createOutput(response, whim.cut);
  let sent = 0;
  let over = false;
  const stop = store.onChange((change) => take(change));
  response.on("close", stop);

  const bookmark = (version: string): void =>
    out.line({ type: "BOOKMARK", object: { kind: "Any", metadata: { resourceVersion: version } } });

  function take({ collection, type, object }: Change): void {
    if (over) return;
    if (collection !== place.collection) {
      if (whim.bookmarkOthers === true) bookmark(object.metadata.resourceVersion);
      return;
    }
    if (place.namespace !== undefined && object.metadata.namespace !== place.namespace) return;
    out.line({ type, object });
    sent += 1;
    if (whim.bookmarkEvery !== undefined && sent % whim.bookmarkEvery === 0) bookmark(object.metadata.resourceVersion);
    finish(object);
  }
  function finish(last: object): void {
    if (over || whim.end === undefined || sent < (whim.after ?? 0)) return;
    over = true;
    stop();
    switch (whim.end) {
      case "silent":
        return;
      case "half a line":
        out.text(JSON.stringify({ type: "MODIFIED", object: last }).slice(0, -9));
        return out.end("in order");
      case "expired":
        out.line({ type: "ERROR", object: { kind: "Status", code: 410, reason: "Expired", message: "too old" } });
        return out.end("in order");
      case "garbage":
        return out.text('{"type":"MODIFIED","object":{"metadata":\n');
      case "in order":
      case "broken":
      case "half closed":
        return out.end(whim.end);
      default:
        return whim.end satisfies never;
    }
  }

  for (const change of missed) take(change);
  finish({});
}

interface Output {
  line(value: unknown): void;
  text(text: string): void;
  end(how: "in order" | "broken" | "half closed"): void;
}

/** Writes piece by piece, a turn of the event loop between two of them, so that the other side meets each piece alone. */
function createOutput(response: ServerResponse, cut: Chance | undefined): Output {
  let queue: (Buffer | "in order" | "broken" | "half closed")[] = [];
  let busy = false;
  const pump = (): void => {
    const piece = queue.shift();
    if (piece === undefined || response.destroyed) {
      busy = false;
      if (response.destroyed) queue = [];
      return;
    }
    if (piece === "in order") response.end();
    else if (piece === "broken") response.destroy();
    else if (piece === "half closed") response.socket?.end();
    else response.write(piece);
    setImmediate(pump);
  };
  const push = (...pieces: typeof queue): void => {
    queue.push(...pieces);
    if (busy) return;
    busy = true;
    pump();
  };
  const text = (all: string): void => {
    let rest = Buffer.from(all);
    while (rest.length > 0) {
      const len = cut === undefined ? rest.length : 1 + cut.below(120);
      push(rest.subarray(0, len));
      rest = rest.subarray(len);
    }
  };
  return { text, line: (value) => text(`${JSON.stringify(value)}\n`), end: (how) => push(how) };
}
