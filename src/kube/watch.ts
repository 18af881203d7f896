// One watch: lines of a stream as events, in order, until it ends, falls silent or says that it cannot go on.

import { Fault } from "../base/fault.ts";
import { pause } from "../base/pause.ts";
import { randomInt } from "node:crypto";
import type { Kind, KubeObject, Selection } from "./contract.ts";
import { linkSignals } from "./time-limit.ts";
import type { Limits } from "./limits.ts";
import { collectionPath, member, selectionQuery } from "./path.ts";
import { asKubeFault, nameOfCall, parseJson, type Transport } from "./request.ts";
import { eventFault } from "./status.ts";

export interface WatchEvent {
  type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  /** As the server sent it. */
  raw: unknown;
}

export interface WatchCall {
  kind: Kind<KubeObject>;
  selection: Selection;
  /** Changes after this one are told. */
  resourceVersion: string;
  signal: AbortSignal;
  /** Called when the server has begun to answer, and for each piece of the answer. */
  onHeard: () => void;
}

const newline = 0x0a;

/**
 * Follows the changes after a version; ends as the server ends it. A last line without its end is thrown away: it will come again.
 * @throws Fault "kube-expired" where the version is too old, "kube-unreachable" where the stream breaks off or is silent
 *   longer than `watchIdleMs`, "kube-answer" where a line is no event; else as any call
 */
export async function* watchEvents(transport: Transport, limits: Limits, call: WatchCall): AsyncGenerator<WatchEvent> {
  const path = collectionPath(call.kind, call.selection.namespace);
  const what = `watch ${nameOfCall({ method: "GET", path })}`;
  const { controller, release } = linkSignals([call.signal]);
  const over = new AbortController();
  let heardMs = performance.now();
  const heard = (): void => {
    heardMs = performance.now();
    call.onHeard();
  };
  const silence = new Fault("kube-unreachable", `${what}: silent for ${limits.watchIdleMs} ms`);
  try {
    const stream = await transport.stream({
      method: "GET",
      path,
      query: {
        ...selectionQuery(call.selection),
        watch: "1",
        allowWatchBookmarks: "true",
        resourceVersion: call.resourceVersion,
        timeoutSeconds: String(lastingSeconds(limits)),
      },
      signal: controller.signal,
    });
    heard();
    void onSilence(
      limits.watchIdleMs,
      () => heardMs,
      () => controller.abort(silence),
      over.signal,
    );
    for await (const line of splitLines(stream, limits.lineLenMax, what, heard)) yield eventOf(line, what);
  } catch (error) {
    throw asKubeFault(error, { method: "GET", path }, "the server");
  } finally {
    over.abort();
    release();
    controller.abort();
  }
}

/** Spread, so that the watches of many clients do not end together. */
function lastingSeconds({ watchMs }: Limits): number {
  const seconds = Math.max(2, Math.ceil(watchMs / 1000));
  return Math.ceil(seconds / 2) + randomInt(Math.floor(seconds / 2) + 1);
}

/** Calls `then` once nothing has been heard for `idleMs`, unless `signal` aborts first. */
async function onSilence(idleMs: number, heardMs: () => number, then: () => void, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const leftMs = heardMs() + idleMs - performance.now();
    if (leftMs <= 0) return then();
    await pause(leftMs, signal);
  }
}

/** The lines of a stream, without their ends; empty ones are left out. */
export async function* splitLines(
  stream: AsyncIterable<Buffer>,
  lenMax: number,
  what: string,
  onChunk: () => void = () => undefined,
): AsyncGenerator<Buffer> {
  let parts: Buffer[] = [];
  let len = 0;
  const hold = (part: Buffer): void => {
    parts.push(part);
    len += part.length;
    if (len > lenMax) throw new Fault("kube-answer", `${what}: a line has more than ${lenMax} bytes`);
  };
  for await (const chunk of stream) {
    onChunk();
    let from = 0;
    for (let at = chunk.indexOf(newline); at !== -1; at = chunk.indexOf(newline, from)) {
      hold(chunk.subarray(from, at));
      const line = parts.length === 1 ? parts[0] : Buffer.concat(parts);
      parts = [];
      len = 0;
      from = at + 1;
      if (line !== undefined && line.length > 0) yield line;
    }
    // A copy: the rest of a chunk would keep all of it.
    if (from < chunk.length) hold(Buffer.from(chunk.subarray(from)));
  }
}

function eventOf(line: Buffer, what: string): WatchEvent {
  const event = parseJson(line, what);
  const type = member(event, "type");
  const raw = member(event, "object");
  switch (type) {
    case "ADDED":
    case "MODIFIED":
    case "DELETED":
    case "BOOKMARK":
      return { type, raw };
    case "ERROR":
      throw eventFault(what, raw);
    default:
      throw new Fault("kube-answer", `${what}: an event of the type ${JSON.stringify(type)?.slice(0, 64)}`);
  }
}
