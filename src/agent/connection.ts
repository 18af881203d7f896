// The unix sockets of the agent: root only, one frame in and one frame out on the CNI socket.

import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { createServer, connect, type Server, type Socket } from "node:net";
import { dirname } from "node:path";
import { asFault, Fault } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { decodeRequest, encodeReply, frameLength, type WireRequest } from "../cni/wire.ts";

/** A shim sends its request at once; one that does not is cut off. */
const requestWaitMs = 10_000;
/** Connections at once: those at work, those in the queue, and some that are told so. */
const connectionsMax = 1024;

export interface Reply {
  exitCode: number;
  stdout: string;
}

export interface ConnectionDeps {
  path: string;
  /** Who is at the other end of a socket, by its descriptor. */
  peerCred: (fd: number) => { pid: number; uid: number; gid: number };
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
  const { path, log } = deps;
  await prepareSocketPath(path);
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    serveConnection(socket, deps).catch((error: unknown) => {
      log.error({ error }, "connection failed");
      socket.destroy();
    });
  });
  server.maxConnections = connectionsMax;
  server.on("error", (error) => log.error({ error }, "CNI socket failed"));
  await listen(server, path);
  return () => new Promise((done) => server.close(() => done()));
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

/** Listens with the socket closed to others from its first moment. */
export async function listen(server: Pick<Server, "listen" | "once" | "off">, path: string): Promise<void> {
  const before = process.umask(0o177);
  try {
    await new Promise<void>((done, failed) => {
      server.once("error", failed);
      server.listen(path, () => {
        server.off("error", failed);
        done();
      });
    });
  } catch (cause) {
    throw new Fault("io-failure", `cannot listen on ${path}`, { cause });
  } finally {
    process.umask(before);
  }
}

function answers(path: string): Promise<boolean> {
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

async function serveConnection(socket: Socket, deps: ConnectionDeps): Promise<void> {
  const { log } = deps;
  socket.on("error", (error) => log.debug({ error }, "caller went away"));
  const { uid, pid } = deps.peerCred(descriptorOf(socket));
  if (uid !== 0) {
    log.warn({ uid, pid }, "refused a caller that is not root");
    socket.destroy();
    return;
  }
  let frame: WireRequest;
  try {
    frame = decodeRequest(await readFrame(socket));
  } catch (error) {
    await send(socket, deps.refuse(asFault(error)));
    return;
  }
  const reply = await deps.handle(frame);
  if (!(await send(socket, reply))) await deps.undelivered(frame, reply);
}

/** Node gives the descriptor of a socket only on its handle; without it the caller cannot be known and is refused. */
function descriptorOf(socket: Socket): number {
  const handle: unknown = Reflect.get(socket, "_handle");
  const fd: unknown = typeof handle === "object" && handle !== null ? Reflect.get(handle, "fd") : undefined;
  if (typeof fd === "number" && fd >= 0) return fd;
  throw new Fault("io-failure", "the caller's credentials cannot be read from its socket");
}

function readFrame(socket: Socket): Promise<Buffer> {
  return new Promise((done, failed) => {
    const chunks: Buffer[] = [];
    let length = 0;
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

/** True once the kernel has taken the whole answer; false where the caller is gone. */
function send(socket: Socket, { exitCode, stdout }: Reply): Promise<boolean> {
  return new Promise((done) => {
    if (socket.destroyed) return done(false);
    socket.once("close", () => done(false));
    socket.write(encodeReply({ exitCode, stdout: Buffer.from(stdout) }), (error) => {
      done(error === undefined || error === null);
      socket.end();
    });
  });
}
