// The fake kernel's connection tracking: entries that a test puts there, since nothing sends packets here.

import { Fault } from "../base/fault.ts";
import type { Ip } from "../net/ip.ts";
import type { FakeFlowLog } from "./fake-flow-log.ts";
import { type Connection, type Conntrack, connectionsMax, conntrackAddressesMax } from "./contract.ts";

export interface FakeConntrack {
  conntrack: Conntrack;
  /** Puts an entry into the table, as the first packet of a connection does. */
  track: (connection: Connection) => void;
}

/** `begin` is called before each call and throws where that is to fail; what it gives is called after it. `tell`: entries come and go. */
export function createFakeConntrack(
  begin: (call: `conntrack.${keyof Conntrack}`) => () => void,
  tell: FakeFlowLog["connection"] = () => {},
): FakeConntrack {
  let table: Connection[] = [];

  function remove(isGone: (connection: Connection) => boolean): number {
    const { gone = [], kept = [] } = Object.groupBy(table, (connection) => (isGone(connection) ? "gone" : "kept"));
    table = kept;
    for (const connection of gone) tell({ what: "ended", connection });
    return gone.length;
  }

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
      forget: (addresses) =>
        run("conntrack.forget", addresses, () => {
          return remove((connection) => hasPart(connection, addresses));
        }),
      cut: (addresses, isUnwanted) =>
        run("conntrack.cut", addresses, () => {
          return remove((connection) => hasPart(connection, addresses) && isUnwanted(structuredClone(connection)));
        }),
      list: (addresses) =>
        run("conntrack.list", addresses, () => {
          const found = table.filter((connection) => hasPart(connection, addresses));
          if (found.length > connectionsMax) throw tooMany("conntrack.list", connectionsMax, "connections");
          return structuredClone(found);
        }),
    },
    track: (connection) => {
      const key = JSON.stringify([connection.protocol, connection.original]);
      const taken = table.some(({ protocol, original }) => JSON.stringify([protocol, original]) === key);
      if (taken) throw new Fault("bug", `the test tracks ${key} twice`);
      table.push(structuredClone(connection));
      tell({ what: "began", connection });
    },
  };
}

function hasPart({ original, reply }: Connection, addresses: readonly Ip[]): boolean {
  return [original, reply].some(
    ({ source, destination }) => addresses.includes(source) || addresses.includes(destination),
  );
}

function tooMany(what: string, max: number, of: string): Fault {
  return new Fault("kernel-refused", `${what}: more than ${max} ${of}`);
}
