// Very many tracked flows at once: those of a pod from callers of one network and of another, and those of nobody who is judged.

import { present } from "../src/base/assert.ts";
import type { Connection } from "../src/kernel/contract.ts";
import { addressAt, parseCidr } from "../src/net/cidr.ts";
import { type Ip, parseIp } from "../src/net/ip.ts";
import { connection, type Track } from "./conntrack-entries.ts";

const [tcp, udp] = [6, 17];
/** Each address of a network calls that many times before the next one does. */
const callsOfAddress = 250;
const portFirst = 20_000;

export interface FlowsWish {
  count: number;
  /** Who calls. */
  from: string;
  /** Who is called. */
  to: string;
  port: number;
}

/** Flows of callers of a network to one address, every third by UDP. */
export function* flowsOf({ count, from, to, port }: FlowsWish): Generator<Connection> {
  const network = present(parseCidr(from), from);
  const destination: Ip = present(parseIp(to), to);
  for (let n = 0; n < count; n += 1) {
    const source = addressAt(network, BigInt(1 + Math.floor(n / callsOfAddress)));
    const sourcePort = portFirst + (n % callsOfAddress);
    yield connection(
      n % 3 === 0 ? udp : tcp,
      { source, destination, sourcePort, destinationPort: port },
      { replied: true },
    );
  }
}

/** Puts them all into the kernel's table. @throws where it refuses one */
export async function fillFlows(track: Track, wishes: readonly FlowsWish[]): Promise<void> {
  for (const wish of wishes) await track(flowsOf(wish));
}
