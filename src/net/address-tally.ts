// How often each of many addresses is named, and which of them lie in a few networks, without looking at all of them each time.

import { type Cidr, containedIn } from "./cidr.ts";
import type { Ip } from "./ip.ts";

/** What was asked for the last time. */
interface Near {
  networks: readonly Cidr[];
  isWithin: (address: Ip) => boolean;
  found: Set<Ip>;
}

export interface AddressTally {
  has(address: Ip): boolean;
  /** How many different ones. */
  readonly size: number;
  /** Names each once more. */
  add(addresses: Iterable<Ip>): void;
  /** Names each once less; one that nobody names any more is gone. */
  remove(addresses: Iterable<Ip>): void;
  /**
   * Those that lie in any of these networks, each once. All are looked at only where the networks are others than the last time;
   * after that, what comes and goes is looked at as it does. To be read at once: it goes on changing.
   */
  within(networks: readonly Cidr[]): ReadonlySet<Ip>;
}

/** A tally of these, each named as often as it is given. */
export function createAddressTally(addresses: Iterable<Ip> = []): AddressTally {
  const times = new Map<Ip, number>();
  let near = lookedFor([]);

  const add = (more: Iterable<Ip>): void => {
    for (const address of more) {
      const before = times.get(address) ?? 0;
      times.set(address, before + 1);
      if (before === 0 && near.isWithin(address)) near.found.add(address);
    }
  };
  add(addresses);

  return {
    has: (address) => times.has(address),
    get size() {
      return times.size;
    },
    add,
    remove: (fewer) => {
      for (const address of fewer) {
        const after = (times.get(address) ?? 0) - 1;
        if (after > 0) {
          times.set(address, after);
          continue;
        }
        times.delete(address);
        near.found.delete(address);
      }
    },
    within: (networks) => {
      if (!areSame(networks, near.networks)) {
        near = lookedFor(networks);
        for (const address of times.keys()) if (near.isWithin(address)) near.found.add(address);
      }
      return near.found;
    },
  };
}

const lookedFor = (networks: readonly Cidr[]): Near => ({
  networks: [...networks],
  isWithin: containedIn(networks),
  found: new Set(),
});

const areSame = (some: readonly Cidr[], others: readonly Cidr[]): boolean =>
  some.length === others.length && some.every((network, index) => network === others[index]);
