// The fake kernel's connection tracking: entries that a test puts there, since nothing sends packets here.

import { Fault } from "../base/fault.ts";
import type { Ip } from "../net/ip.ts";
import { type Connection, type Conntrack, connectionsMax, conntrackAddressesMax, cutsMax } from "./contract.ts";

export interface FakeConntrack {
  conntrack: Conntrack;
  /** Puts an entry into the table, as the first packet of a connection does. */
  track: (connection: Connection) => void;
}

/** `begin` is called before each call and throws where that is to fail; what it gives is called after it. */
export function createFakeConntrack(begin: (call: `conntrack.${keyof Conntrack}`) => () => void): FakeConntrack {
  let table: Connection[] = [];

  /** One call: its effect is at once. */
  async function run<T>(call: `conntrack.${keyof Conntrack}`, addresses: readonly Ip[], effect: () => T): Promise<T> {
    const end = begin(call);
    if (addresses.length > conntrackAddressesMax) throw tooMany(call, conntrackAddressesMax, "addresses");
    const result = effect();
    end();
    return result;
  }

  return {
    conntrack: {
      cut: async (connections) => {
        const end = begin("conntrack.cut");
        if (connections.length > cutsMax) throw tooMany("conntrack.cut", cutsMax, "connections");
        const keys = new Set(connections.map(keyOf));
        const before = table.length;
        table = table.filter((connection) => !keys.has(keyOf(connection)));
        end();
        return before - table.length;
      },
      forget: (addresses) =>
        run("conntrack.forget", addresses, () => {
          const before = table.length;
          table = table.filter((connection) => !hasPart(connection, addresses));
          return before - table.length;
        }),
      list: (addresses) =>
        run("conntrack.list", addresses, () => {
          const found = table.filter((connection) => hasPart(connection, addresses));
          if (found.length > connectionsMax) throw tooMany("conntrack.list", connectionsMax, "connections");
          return structuredClone(found);
        }),
    },
    track: (connection) => {
      const key = keyOf(connection);
      if (table.some((one) => keyOf(one) === key)) throw new Fault("bug", `the test tracks ${key} twice`);
      table.push(structuredClone(connection));
    },
  };
}

/** What tells an entry from others. */
function keyOf({ zone = 0, protocol, original }: Connection): string {
  const { source, destination, sourcePort, destinationPort, icmp } = original;
  return JSON.stringify([
    zone,
    protocol,
    source,
    destination,
    sourcePort,
    destinationPort,
    icmp?.id,
    icmp?.type,
    icmp?.code,
  ]);
}

function hasPart({ original, reply }: Connection, addresses: readonly Ip[]): boolean {
  return [original, reply].some(
    ({ source, destination }) => addresses.includes(source) || addresses.includes(destination),
  );
}

function tooMany(what: string, max: number, of: string): Fault {
  return new Fault("kernel-refused", `${what}: more than ${max} ${of}`);
}
