// The fake kernel's packet log: what a test says that was logged, since nothing sends packets here.

import { Fault } from "../base/fault.ts";
import type { ConnectionEvent, FlowLog, Logged } from "./flow-log-contract.ts";

export interface FakeFlowLog {
  flowLog: FlowLog;
  /** Tells whoever listens; nobody else ever hears of it. */
  log: (told: Logged) => void;
  /** A connection begins or ends. */
  connection: (event: Exclude<ConnectionEvent, { what: "lost" }>) => void;
  close: () => void;
}

/** Makes the log. `begin` as for the fake's other calls. */
export function createFakeFlowLog(begin: (call: `flowLog.${keyof FlowLog}`) => () => void): FakeFlowLog {
  let listener: ((told: Logged) => void) | undefined;
  let follower: { addresses: () => readonly string[]; onEvent: (event: ConnectionEvent) => void } | undefined;
  return {
    flowLog: {
      packets: async (onLogged) => {
        const end = begin("flowLog.packets");
        if (listener !== undefined) throw new Fault("kernel-busy", "the packet log is listened to already");
        end();
        listener = onLogged;
        return () => {
          if (listener === onLogged) listener = undefined;
        };
      },
      connections: (addresses, onEvent) => {
        const end = begin("flowLog.connections");
        if (follower !== undefined) throw new Fault("kernel-busy", "connections are followed already");
        end();
        const own = { addresses, onEvent };
        follower = own;
        return () => {
          if (follower === own) follower = undefined;
        };
      },
    },
    // Never within the call of the test, as the kernel would not.
    log: (told) => queueMicrotask(() => listener?.(structuredClone(told))),
    connection: (event) =>
      queueMicrotask(() => {
        const { original, reply } = event.connection;
        const ends = [original.source, original.destination, reply.source, reply.destination];
        if (follower?.addresses().some((address) => ends.some((end) => end === address)))
          follower.onEvent(structuredClone(event));
      }),
    close: () => {
      listener = undefined;
      follower = undefined;
    },
  };
}
