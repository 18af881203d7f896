// Who watches the fake kernel's node, and what they are told: what differs from what was there when they were told last.

import { cidrFamily } from "../net/cidr.ts";
import { Fault } from "../base/fault.ts";
import { type Kernel, type KernelChange, type Op, type Route, watchersMax } from "./contract.ts";
import { allAddresses, allNeighbours } from "./fake-addresses.ts";
import { linkOf } from "./fake-links.ts";
import { allRoutes } from "./fake-routes.ts";
import { allRules } from "./fake-rules.ts";
import type { FakeNamespace } from "./fake-world.ts";

export interface FakeWatch {
  watch: Kernel["watch"];
  /** Something was done to some namespace: by an operation, or by what is no operation. */
  changed: (cause?: Op["op"]) => void;
  /** Somebody has changed nftables; `tables` as in KernelChange. */
  nftables: (by: string, tables?: readonly string[]) => void;
  /** Changes are lost on their way, as on a node where too much happens at once. */
  lose: () => void;
  close: () => void;
}

/** Changes that wait to be told; beyond it they are lost. */
const waitingMax = 1024;
/** The kernel itself made the route. */
const kernelProtocol = 2;

/** What there is, by what names it: the state in which it is, and the change that tells of it. */
type Inventory = Map<string, { state: string; change: Extract<KernelChange, { removed: boolean }>; route?: Route }>;

export function createFakeWatch(node: FakeNamespace, mustBeOpen: (what: string) => void): FakeWatch {
  const watchers = new Set<{ onChange: (change: KernelChange) => void }>();
  let known: Inventory = new Map();
  let waiting: KernelChange[] = [];

  function tell(changes: readonly KernelChange[]): void {
    if (watchers.size === 0 || changes.length === 0) return;
    if (waiting.length === 0) queueMicrotask(deliver); // never within the call that made the change
    waiting.push(...changes);
    if (waiting.length > waitingMax) waiting = [{ what: "lost" }];
  }

  function deliver(): void {
    const changes = waiting;
    waiting = [];
    for (const change of changes) {
      for (const watcher of watchers) watcher.onChange(change);
    }
  }

  return {
    watch: (onChange) => {
      mustBeOpen("watching a network namespace");
      if (watchers.size >= watchersMax) throw new Fault("kernel-busy", `${watchersMax} watch the namespace already`);
      if (watchers.size === 0) known = inventoryOf(node);
      const watcher = { onChange };
      watchers.add(watcher);
      return () => watchers.delete(watcher);
    },
    changed: (cause) => {
      if (watchers.size === 0) return;
      const before = known;
      known = inventoryOf(node);
      tell([...gone(before, known, cause), ...newOrChanged(before, known)]);
    },
    nftables: (by, tables) => tell([{ what: "nftables", by, ...(tables === undefined ? {} : { tables }) }]),
    lose: () => tell([{ what: "lost" }]),
    close: () => watchers.clear(),
  };
}

function inventoryOf(node: FakeNamespace): Inventory {
  const inventory: Inventory = new Map();
  for (const link of node.links.values()) {
    const change = { what: "link", index: link.index, removed: false } as const;
    inventory.set(`link ${link.index}`, { state: JSON.stringify(linkOf(link)), change });
  }
  for (const held of allAddresses(node)) {
    const { link, address, prefix } = held;
    const change = { what: "address", link, address, removed: false } as const;
    inventory.set(`address ${link} ${address}/${prefix}`, { state: JSON.stringify(held), change });
  }
  for (const route of allRoutes(node)) {
    const { to, link, table, metric, protocol } = route;
    const optional = {
      ...(link === undefined ? {} : { link }),
      ...(table === undefined ? {} : { table }),
      ...(protocol === undefined ? {} : { protocol }),
    };
    const change = { what: "route", to, ...optional, removed: false } as const;
    inventory.set(`route ${to} ${table} ${metric} ${link}`, { state: JSON.stringify(route), change, route });
  }
  for (const rule of allRules(node)) {
    const change = { what: "rule", family: rule.family, priority: rule.priority, removed: false } as const;
    inventory.set(`rule ${JSON.stringify(rule)}`, { state: "", change });
  }
  for (const neighbour of allNeighbours(node)) {
    const { link, address } = neighbour;
    const change = { what: "neighbour", link, address, removed: false } as const;
    inventory.set(`neighbour ${link} ${address}`, { state: JSON.stringify(neighbour), change });
  }
  return inventory;
}

function newOrChanged(before: Inventory, now: Inventory): KernelChange[] {
  return [...now].filter(([key, { state }]) => before.get(key)?.state !== state).map(([, { change }]) => change);
}

function gone(before: Inventory, now: Inventory, cause: Op["op"] | undefined): KernelChange[] {
  return [...before]
    .filter(([key, { route }]) => !now.has(key) && (route === undefined || tellsOfEnd(route, cause)))
    .map(([, { change }]) => ({ ...change, removed: true }));
}

/** A route that gives way to another goes without a word; so does an IPv4 route that goes along with something else. */
function tellsOfEnd({ to, protocol }: Route, cause: Op["op"] | undefined): boolean {
  if (cause === "route.replace") return false;
  return (
    cidrFamily(to) === 6 || cause === "route.remove" || (cause === "address.remove" && protocol === kernelProtocol)
  );
}
