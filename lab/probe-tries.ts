// Tries that the program in pods makes, many at once: one exchange by TCP, UDP or ICMP each, and how it went.

import { execFile } from "node:child_process";
import { createSocket } from "node:dgram";
import { createConnection } from "node:net";
import type { Answer, Probe, ProbeResult } from "./probing.ts";

/** One datagram may be lost where a machine is busy: it is sent again. */
const datagramEveryMs = 400;
/** For tries from which nothing is to come back: at least so long, and as many times as long as the slowest of the others took. */
const silentMinMs = 1_000;
const silentTimes = 3;

/**
 * Makes `probes`, `atOnceMax` of them at once; results in their order. `alive` is a try that must succeed on a machine that works: how long it and
 * all the others take says how long silence has to last.
 */
export async function runAll(probes: readonly Probe[], atOnceMax: number, alive?: Probe): Promise<ProbeResult[]> {
  const results: ProbeResult[] = [];
  for (let first = 0; first < probes.length; first += atOnceMax) {
    results.push(...(await runTogether(probes.slice(first, first + atOnceMax), alive)));
  }
  return results;
}

async function runTogether(probes: readonly Probe[], alive?: Probe): Promise<ProbeResult[]> {
  const startedMs = performance.now();
  const silence = new AbortController();
  const running = probes.map((probe) => runOne(probe, probe.silent === true ? silence.signal : bound(probe)));
  await Promise.all([
    ...(alive === undefined ? [] : [runOne(alive, bound(alive))]),
    ...running.filter((_, index) => probes[index]?.silent !== true),
  ]);
  const tookMs = performance.now() - startedMs;
  const waiting = setTimeout(() => silence.abort(), Math.max(silentMinMs, tookMs * silentTimes) - tookMs);
  const results = await Promise.all(running);
  clearTimeout(waiting);
  return results;
}

const bound = ({ timeoutMs }: Probe): AbortSignal => AbortSignal.timeout(timeoutMs);

async function runOne(probe: Probe, signal: AbortSignal): Promise<ProbeResult> {
  const startedMs = performance.now();
  const took = (): number => Math.round(performance.now() - startedMs);
  try {
    const said = await { tcp: probeTcp, udp: probeUdp, icmp: probeIcmp }[probe.proto](probe, signal);
    const answered: Partial<Answer> = said === undefined ? {} : JSON.parse(said); // checked by who reads our output
    return { ok: true, ms: took(), ...answered };
  } catch (error) {
    return { ok: false, ms: took(), error: error instanceof Error ? error.message : String(error) };
  }
}

const late = "no answer in time";

/** Gives the server's line. Fails where the connection is refused, cut or slow, or where bytes are lost. */
function probeTcp({ to, port, bytes }: Probe, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = createConnection({ host: to, port, allowHalfOpen: true });
    const giveUp = (): unknown => socket.destroy(new Error(late));
    signal.addEventListener("abort", giveUp, { once: true });
    socket.on("connect", () => socket.end(".".repeat(bytes)));
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.on("error", reject);
    socket.on("close", () => {
      signal.removeEventListener("abort", giveUp);
      const [line = "", rest = ""] = Buffer.concat(chunks).toString("latin1").split("\n");
      if (rest.length === bytes) resolve(line);
      else reject(new Error(`cut off: ${rest.length} of ${bytes} bytes came back`));
    });
  });
}

/** The same datagram until one answer comes back. */
function probeUdp({ to, port }: Probe, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(to.includes(":") ? "udp6" : "udp4");
    let again: NodeJS.Timeout | undefined;
    const end = (finish: () => void): void => {
      signal.removeEventListener("abort", giveUp);
      clearInterval(again);
      socket.close();
      finish();
    };
    const fail = (error: Error): void => end(() => reject(error));
    const giveUp = (): void => fail(new Error(late));
    signal.addEventListener("abort", giveUp, { once: true });
    socket.once("error", fail);
    socket.once("message", (message) => end(() => resolve(message.toString("utf8"))));
    socket.bind(0, () => {
      // Connected, so that an ICMP error comes back as an error of this socket.
      socket.connect(port, to, () => {
        const send = (): void => socket.send(".");
        send();
        again = setInterval(send, datagramEveryMs);
      });
    });
  });
}

/** The longest that a try may take, whatever its own bound. */
const pingMaxSeconds = 120;

/** Echo requests by ping(8) until one is answered (-c with -w): that is all that it can tell. */
function probeIcmp({ to }: Probe, signal: AbortSignal): Promise<undefined> {
  const pace = ["-i", String(datagramEveryMs / 1000), "-c", "1", "-w", String(pingMaxSeconds)];
  return new Promise((resolve, reject) => {
    execFile("ping", ["-n", "-q", ...pace, to], { signal }, (error, _, stderr) => {
      if (error === null) resolve(undefined);
      else reject(new Error(signal.aborted || stderr.trim() === "" ? "no echo reply" : stderr.trim()));
    });
  });
}
