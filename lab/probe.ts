// The program that lives in pods: "serve" answers every caller with its own name and the address it saw, and tries to reach others when the lab asks; "run" tries and ends; "hold" keeps one connection busy.

import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { closeSync, rmSync, writeSync } from "node:fs";
import { createConnection, createServer, type Server } from "node:net";
import { text } from "node:stream/consumers";
import { runAll } from "./probe-tries.ts";
import type { Answer, Probe } from "./probing.ts";

/** Tries under way at once. */
const probesAtOnceMax = 256;
/** For a try inside the own namespace: a busy machine is slow. */
const aliveWithinMs = 20_000;

/** A caller whose first byte is this one is sent back whatever it sends, for as long as it likes. */
const holdByte = "h";
const holdEveryMs = 50;
/** A held connection over which nothing came back for so long is given up. */
const holdSilentMaxMs = 20_000;

const localhost = { 4: "127.0.0.1", 6: "::1" } as const;
const everywhere = { 4: "0.0.0.0", 6: "::" } as const;

/** Serves TCP and UDP of both families: on `ports` for everybody, on `localPort` for the own namespace only. Ready once all are bound. */
async function serve(name: string, localPort: number, ports: readonly number[], socket?: string): Promise<void> {
  await Promise.all(
    ([4, 6] as const).flatMap((family) => [
      ...ports.flatMap((port) => [
        serveTcp(name, everywhere[family], port),
        serveUdp(name, family, everywhere[family], port),
      ]),
      serveTcp(name, localhost[family], localPort),
      serveUdp(name, family, localhost[family], localPort),
    ]),
  );
  if (socket !== undefined) await serveTries(socket, localPort);
  writeSync(3, "ready\n"); // the lab listens on descriptor 3 until it is closed
  closeSync(3);
}

/** Reads all of a caller's bytes, then answers with one line and as many bytes back. */
function serveTcp(name: string, host: string, port: number): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    let got = 0;
    let held = false;
    socket.on("error", () => {}); // a caller that gives up is its own affair
    socket.on("data", (chunk: Buffer) => {
      held ||= got === 0 && chunk.toString("latin1", 0, 1) === holdByte;
      got += chunk.length;
      if (held) socket.write(chunk);
    });
    socket.on("end", () => socket.end(held ? "" : `${answer(name, socket.remoteAddress)}\n${".".repeat(got)}`));
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port, ipv6Only: true }, () => resolve(server));
  });
}

function serveUdp(name: string, family: 4 | 6, address: string, port: number): Promise<UdpSocket> {
  const socket = createSocket({ type: `udp${family}`, ipv6Only: family === 6 });
  socket.on("message", (_, from) => socket.send(answer(name, from.address), from.port, from.address));
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.bind({ address, port }, () => {
      socket.on("error", () => {}); // an answer that cannot be sent is the caller's loss
      resolve(socket);
    });
  });
}

function answer(name: string, seenFrom: string | undefined): string {
  return JSON.stringify({ name, seenFrom: seenFrom ?? "" } satisfies Answer);
}

/** Answers at a socket of the file system, which every namespace has in common: takes tries as JSON, makes them from here, gives their results. */
function serveTries(path: string, localPort: number): Promise<Server> {
  const alive: Probe = { proto: "tcp", to: localhost[4], port: localPort, timeoutMs: aliveWithinMs, bytes: 1 };
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => {});
    const question: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => question.push(chunk));
    socket.on("end", () => {
      const probes: Probe[] = JSON.parse(Buffer.concat(question).toString("utf8")); // the lab is the only writer
      void runAll(probes, probesAtOnceMax, alive).then((results) => socket.end(JSON.stringify(results)));
    });
  });
  rmSync(path, { force: true }); // of a server of this name that was killed
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => resolve(server));
  });
}

/**
 * Sends a byte every 50 ms and waits for it to come back, until the connection ends. Each line of the log has the time, in ms since
 * 1970, and what happened: "up", "echo", or "cut" with the error. Ready once the first byte has come back.
 */
function hold(to: string, port: number): void {
  const tell = (what: string): void => void writeSync(1, `${Date.now()} ${what}\n`);
  const socket = createConnection({ host: to, port, noDelay: true });
  let silent: NodeJS.Timeout | undefined;
  const send = (): void => {
    socket.write(holdByte);
    silent = setTimeout(
      () => socket.destroy(new Error(`nothing came back for ${holdSilentMaxMs} ms`)),
      holdSilentMaxMs,
    );
  };
  let first = true;
  socket.once("connect", () => {
    tell("up");
    send();
  });
  socket.on("data", () => {
    clearTimeout(silent);
    tell("echo");
    if (first) {
      writeSync(3, "ready\n");
      closeSync(3);
    }
    first = false;
    setTimeout(send, holdEveryMs);
  });
  socket.on("end", () => socket.destroy(new Error("closed by the other end")));
  socket.on("error", (error: NodeJS.ErrnoException) => {
    tell(`cut ${error.code ?? error.message}`);
    process.exit(0);
  });
}

const [, , mode, ...words] = process.argv;
if (mode === "serve") {
  const [name = "", port, localPort, socket, ...further] = words;
  await serve(name, Number(localPort), [port, ...further].map(Number), socket);
} else if (mode === "run") {
  const probes: Probe[] = JSON.parse(await text(process.stdin)); // a test is the only writer
  process.stdout.write(JSON.stringify(await runAll(probes, probesAtOnceMax)));
} else if (mode === "hold") {
  const [to = "", port] = words;
  hold(to, Number(port));
} else {
  throw new Error(
    "usage: probe.ts serve NAME PORT LOCAL-PORT [SOCKET [PORT...]] | run < tries.json | hold ADDRESS PORT",
  );
}
