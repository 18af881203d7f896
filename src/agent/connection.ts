// The unix sockets of the agent: root only, one frame in and one frame out on the CNI socket.

import { chmodSync, mkdirSync, rmSync, statSync } from "node:fs";
import { connect, type Server, Socket } from "node:net";
import { dirname } from "node:path";
import { asFault, describe, Fault } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { decodeRequest, encodeReply, frameLength, type WireRequest } from "../cni/wire.ts";
import type { Addon, Descriptor } from "../kernel/addon.ts";

/** A shim sends its request at once; one that does not is cut off. */
const requestWaitMs = 10_000;
/** Callers at once: those at work, those in the queue, and some that are told so. */
export const callersMax = 1024;
/** Callers that the kernel keeps while the event loop is busy (net.core.somaxconn may allow less). */
const backlog = 1024;

/** Turns of the event loop in which callers still come in after the socket's file is gone: each lets in up to 32. */
const drainTurns = 40;

export interface Reply {
  exitCode: number;
  stdout: string;
}

/** The part of the addon that lets callers in. */
export type Door = Pick<Addon, "listen" | "send" | "takeOver" | "close">;

export interface ConnectionDeps {
  path: string;
  door: Door;
  /** Runs one request; never throws. */
  handle: (frame: WireRequest) => Promise<Reply>;
  /** Turns a failure to read the request into an answer. */
  refuse: (fault: Fault) => Reply;
  /** The answer did not reach the caller, who therefore believes that the call failed. */
  undelivered: (frame: WireRequest, reply: Reply) => Promise<void>;
  log: Log;
}

/** Stops listening; calls under way go on. Settles when the last connection has ended. */
export type StopListening = () => Promise<void>;

/**
 * Starts to listen for shims.
 * @throws Fault "io-failure" where the socket cannot be made, or another agent answers on it.
 */
export async function listenForShims(deps: ConnectionDeps): Promise<StopListening> {
  const { path, door, log } = deps;
  await prepareSocketPath(path);
  const callers = new Set<Promise<void>>();
  const listener = openDoor(path, door, (connection, pid, uid, bytes) => {
    if (uid !== 0 || callers.size >= callersMax) {
      log.warn({ uid, pid, callers: callers.size }, uid === 0 ? "refused: too many callers" : "refused: not root");
      door.close(connection);
      return;
    }
    const served = serveCaller(createLine(connection, bytes, door), deps)
      .catch((error: unknown) => log.error({ error: describe(error) }, "connection failed"))
      .finally(() => callers.delete(served));
    callers.add(served);
  });
  const own = fileAt(path);
  return async () => {
    // Removed before it closes, and only if it is ours: the next agent's socket may be at the same place by then.
    if (fileAt(path) === own) rmSync(path, { force: true });
    // Who has connected by now is let in: nobody's call is lost by a restart.
    for (let turn = 0; turn < drainTurns; turn += 1) await new Promise((done) => setImmediate(done));
    door.close(listener);
    await Promise.all(callers);
  };
}

/** Which file is at `path`, if any: another one of the same name is told apart, also where it was given the old one's inode. */
export function fileAt(path: string): string | undefined {
  const status = statSync(path, { bigint: true, throwIfNoEntry: false });
  return status === undefined ? undefined : `${status.dev}:${status.ino}:${status.birthtimeNs}`;
}

function openDoor(path: string, door: Door, onCaller: Parameters<Door["listen"]>[2]): Descriptor {
  try {
    return door.listen(path, backlog, onCaller);
  } catch (cause) {
    throw new Fault("io-failure", `cannot listen on ${path}`, { cause });
  }
}

async function serveCaller(line: Line, deps: ConnectionDeps): Promise<void> {
  try {
    let frame: WireRequest;
    try {
      frame = decodeRequest(await line.request());
    } catch (error) {
      await line.answer(deps.refuse(asFault(error)));
      return;
    }
    const reply = await deps.handle(frame);
    if (!(await line.answer(reply))) await deps.undelivered(frame, reply);
  } finally {
    line.close();
  }
}

/** One caller's connection. */
interface Line {
  /** The whole request frame, as soon as it is there. @throws Fault "bad-frame" */
  request(): Uint8Array | Promise<Uint8Array>;
  /** True once the kernel has taken the whole answer; false where the caller is gone. */
  answer(reply: Reply): boolean | Promise<boolean>;
  close(): void;
}

/** Nearly always the whole request is there when its caller is let in, and the answer fits the socket; streams do the rest. */
function createLine(connection: Descriptor, first: Buffer, door: Door): Line {
  let socket: Socket | undefined;
  const stream = (): Socket => {
    if (socket !== undefined) return socket;
    socket = new Socket({ fd: door.takeOver(connection), allowHalfOpen: true, readable: true, writable: true });
    socket.on("error", () => {}); // the caller went away: reading and writing say so
    return socket;
  };
  return {
    request: () => {
      const length = frameLength(first);
      return length !== undefined && first.length >= length ? first : readFrame(stream(), first);
    },
    answer: ({ exitCode, stdout }) => {
      const bytes = encodeReply({ exitCode, stdout: Buffer.from(stdout) });
      if (socket !== undefined) return sendOn(socket, bytes);
      let taken: number;
      try {
        taken = door.send(connection, bytes);
      } catch {
        return false;
      }
      return taken === bytes.length || sendOn(stream(), bytes.subarray(taken));
    },
    close: () => {
      if (socket === undefined) door.close(connection);
      else socket.end();
    },
  };
}

/** Makes the socket's directory root-only and takes a dead socket away. */
export async function prepareSocketPath(path: string): Promise<void> {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    chmodSync(dirname(path), 0o700);
  } catch (cause) {
    throw new Fault("io-failure", `cannot make the directory of the socket ${path}`, { cause });
  }
  if (await answers(path)) {
    throw new Fault(
      "io-failure",
      `another agent answers on ${path}; stop it first, or give this one another paths.socket`,
    );
  }
  rmSync(path, { force: true });
}

/**
 * Listens with the socket closed to others: its directory is root's alone (`prepareSocketPath`) from before the socket is
 * there. The umask is of no use for it: it is the whole process's, and takes bits from what others make meanwhile.
 *
 * @throws Fault "io-failure"
 */
export async function listen(server: Pick<Server, "listen" | "once" | "off">, path: string): Promise<void> {
  try {
    await new Promise<void>((done, failed) => {
      server.once("error", failed);
      server.listen(path, () => {
        server.off("error", failed);
        done();
      });
    });
    chmodSync(path, 0o600);
  } catch (cause) {
    throw new Fault("io-failure", `cannot listen on ${path}`, { cause });
  }
}

/** True where somebody listens on the unix socket at `path`. */
export function answers(path: string): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(path);
    const end = (alive: boolean): void => {
      socket.destroy();
      done(alive);
    };
    socket.once("connect", () => end(true));
    socket.once("error", () => end(false));
  });
}

function readFrame(socket: Socket, first: Buffer): Promise<Buffer> {
  return new Promise((done, failed) => {
    const chunks: Buffer[] = [first];
    let length = first.length;
    let wanted: number | undefined;
    const finish = (settle: () => void): void => {
      socket.setTimeout(0);
      socket.removeListener("data", onData).removeListener("end", onEnd).removeListener("close", onEnd);
      socket.on("data", () => {}); // what follows a frame is read away: it must not hold the connection open
      settle();
    };
    const onEnd = (): void =>
      finish(() => failed(new Fault("bad-frame", "the caller ended its request before it was complete")));
    const onData = (chunk: Buffer): void => {
      chunks.push(chunk);
      length += chunk.length;
      try {
        wanted ??= frameLength(Buffer.concat(chunks));
      } catch (error) {
        return finish(() => failed(asFault(error)));
      }
      if (wanted !== undefined && length >= wanted) finish(() => done(Buffer.concat(chunks)));
    };
    socket.setTimeout(requestWaitMs, () =>
      finish(() => failed(new Fault("bad-frame", `the request was not complete within ${requestWaitMs} ms`))),
    );
    socket.on("data", onData).on("end", onEnd).on("close", onEnd);
  });
}

function sendOn(socket: Socket, bytes: Uint8Array): Promise<boolean> {
  return new Promise((done) => {
    if (socket.destroyed) return done(false);
    socket.once("close", () => done(false));
    socket.write(bytes, (error) => done(error === undefined || error === null));
  });
}
