// The program that lives in pods: "serve" answers every caller with its own name and the address it saw; "run" tries many targets at once and tells how each went; "hold" keeps one connection busy.

import { execFile } from "node:child_process";
import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { closeSync, writeSync } from "node:fs";
import { createConnection, createServer, type Server } from "node:net";
import { text } from "node:stream/consumers";
import type { Answer, Probe, ProbeResult } from "./probing.ts";

/** A whole TCP exchange carries this much each way: segments of full size must pass, not only handshakes. */
const tcpBytes = 16 * 1024;

/** What "run" has under way at once; the lab counts with it (lab/probing.ts). */
const probesAtOnceMax = 128;

/** A caller whose first byte is this one is sent back whatever it sends, for as long as it likes. */
const holdByte = "h";
const holdEveryMs = 50;
/** A held connection over which nothing came back for so long is given up. */
const holdSilentMaxMs = 20_000;

const localhost = { 4: "127.0.0.1", 6: "::1" } as const;
const everywhere = { 4: "0.0.0.0", 6: "::" } as const;

/** Serves TCP and UDP of both families: on `ports` for everybody, on `localPort` for the own namespace only. Ready once all are bound. */
async function serve(name: string, localPort: number, ports: readonly number[]): Promise<void> {
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

/** Runs all probes, at most 64 at once; results in the order of the probes. */
async function runAll(probes: readonly Probe[]): Promise<ProbeResult[]> {
  const results: ProbeResult[] = [];
  const queue = [...probes.entries()];
  const worker = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) results[next[0]] = await runOne(next[1]);
  };
  await Promise.all(Array.from({ length: Math.min(probesAtOnceMax, queue.length) }, worker));
  return results;
}

async function runOne(probe: Probe): Promise<ProbeResult> {
  const startedMs = performance.now();
  const took = (): number => Math.round(performance.now() - startedMs);
  try {
    const said = await { tcp: probeTcp, udp: probeUdp, icmp: probeIcmp }[probe.proto](probe);
    const answered: Partial<Answer> = said === undefined ? {} : JSON.parse(said); // checked by who reads our output
    return { ok: true, ms: took(), ...answered };
  } catch (error) {
    return { ok: false, ms: took(), error: error instanceof Error ? error.message : String(error) };
  }
}

/** Gives the server's line. Fails where the connection is refused, cut or slow, or where bytes are lost. */
function probeTcp({ to, port, timeoutMs }: Probe): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = createConnection({ host: to, port, allowHalfOpen: true });
    const timer = setTimeout(() => socket.destroy(new Error("no answer in time")), timeoutMs);
    socket.on("connect", () => socket.end(".".repeat(tcpBytes)));
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.on("error", reject);
    socket.on("close", () => {
      clearTimeout(timer);
      const [line = "", rest = ""] = Buffer.concat(chunks).toString("latin1").split("\n");
      if (rest.length === tcpBytes) resolve(line);
      else reject(new Error(`cut off: ${rest.length} of ${tcpBytes} bytes came back`));
    });
  });
}

/** One datagram, one answer; a lost datagram is a failure. */
function probeUdp({ to, port, timeoutMs }: Probe): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(to.includes(":") ? "udp6" : "udp4");
    const end = (finish: () => void): void => {
      clearTimeout(timer);
      socket.close();
      finish();
    };
    const fail = (error: Error): void => end(() => reject(error));
    const timer = setTimeout(() => fail(new Error("no answer in time")), timeoutMs);
    socket.once("error", fail);
    socket.once("message", (message) => end(() => resolve(message.toString("utf8"))));
    socket.bind(0, () => {
      // Connected, so that an ICMP error comes back as an error of this socket.
      socket.connect(port, to, () => socket.send("."));
    });
  });
}

/** One echo request by ping(8): an answer is all that it can tell. */
function probeIcmp({ to, timeoutMs }: Probe): Promise<undefined> {
  const waitSeconds = String(timeoutMs / 1000);
  return new Promise((resolve, reject) => {
    execFile(
      "ping",
      ["-n", "-q", "-c", "1", "-W", waitSeconds, to],
      { timeout: timeoutMs + 1_000 },
      (error, _, stderr) => {
        if (error === null) resolve(undefined);
        else reject(new Error(stderr.trim() === "" ? "no echo reply" : stderr.trim()));
      },
    );
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
  const [name = "", port, localPort, ...further] = words;
  await serve(name, Number(localPort), [port, ...further].map(Number));
} else if (mode === "run") {
  const probes: Probe[] = JSON.parse(await text(process.stdin)); // the lab is the only writer
  process.stdout.write(JSON.stringify(await runAll(probes)));
} else if (mode === "hold") {
  const [to = "", port] = words;
  hold(to, Number(port));
} else {
  throw new Error("usage: probe.ts serve NAME PORT LOCAL-PORT [PORT...] | run < probes.json | hold ADDRESS PORT");
}
