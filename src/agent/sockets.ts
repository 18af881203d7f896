// The agent's sockets, kept where callers look for them: opened again where somebody has removed or replaced them.

import { describe } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { type Loop, type LoopPass, startLoop } from "../base/loop.ts";
import type { Metrics } from "../base/metrics.ts";
import { fileAt, type StopListening } from "./connection.ts";

export interface KeptSocket {
  path: string;
  /** Opens the socket at `path`, whatever is there. */
  open: () => Promise<StopListening>;
}

export interface SocketsDeps {
  sockets: readonly KeptSocket[];
  /** Called when a socket was opened again: its directory may be new too. */
  onReopened: () => void;
  log: Log;
  metrics: Pick<Metrics, "repaired">;
}

interface Held {
  socket: KeptSocket;
  stop: StopListening;
  file: string | undefined;
}

export interface Sockets {
  loop: Loop;
  /** Stops listening everywhere; settles when the last connection has ended. */
  stop(): Promise<void>;
}

/** Opens the sockets, the first one first, and keeps them. @throws Fault "io-failure" where one cannot be opened. */
export async function openSockets(
  deps: SocketsDeps,
  signal: AbortSignal,
  onPass: (pass: LoopPass) => void,
): Promise<Sockets> {
  const held: Held[] = [];
  let stopping = false;
  try {
    for (const socket of deps.sockets) held.push(await hold(socket));
  } catch (error) {
    // An agent that cannot serve must not look alive.
    await Promise.all(held.map(({ stop }) => stop()));
    throw error;
  }
  const loop = startLoop({
    name: "sockets",
    sync: () => keep(held, () => stopping, deps),
    minMs: 1000, // a look at each file
    retryMs: 1000,
    retryMaxMs: 10_000,
    maxMs: 1000,
    signal,
    onPass,
  });
  return {
    loop,
    stop: async () => {
      stopping = true;
      await Promise.all(held.map(({ stop }) => stop()));
    },
  };
}

async function hold(socket: KeptSocket): Promise<Held> {
  const stop = await socket.open();
  return { socket, stop, file: fileAt(socket.path) };
}

async function keep(held: Held[], isStopping: () => boolean, { onReopened, log, metrics }: SocketsDeps): Promise<void> {
  for (const [index, { socket, stop, file }] of held.entries()) {
    if (isStopping() || fileAt(socket.path) === file) continue;
    log.warn({ socket: socket.path }, "the socket was removed or replaced: opened again");
    // Calls under way go on; whoever comes now finds the new one.
    stop().catch((error: unknown) => log.error({ error: describe(error) }, "the lost socket did not close well"));
    const again = await hold(socket);
    // Told to stop meanwhile: this one came too late to be stopped with the others.
    if (isStopping()) return again.stop();
    held[index] = again;
    metrics.repaired("socket", 1);
    onReopened();
  }
}
