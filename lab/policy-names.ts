// Namespaces, held connections and tables that a scenario may speak of at each step.

import { Fault } from "../src/base/fault.ts";
import type { NamedPair } from "./actions.ts";
import { namespaceDefault } from "./pod-object.ts";

/** Each throws Fault "lab-failed" for what is not there at this point, or is there already. */
export interface PolicyNames {
  addNamespace(name: string): void;
  needNamespace(name: string): void;
  hold(pair: NamedPair): void;
  needHeld(pair: NamedPair): void;
  /** "before" needs a table that was seen before. */
  seeTable(as: "why says" | "before"): void;
}

/** Begins with the default namespace alone. */
export function createPolicyNames(): PolicyNames {
  const namespaces = new Set([namespaceDefault]);
  /** As "from to". */
  const held = new Set<string>();
  let tableSeen = false;
  return {
    addNamespace: (name) => {
      if (namespaces.has(name)) throw wrong(`there is a namespace ${name} already`);
      namespaces.add(name);
    },
    needNamespace: (name) => {
      if (!namespaces.has(name)) throw wrong(`there is no namespace ${name} at this point`);
    },
    hold: ({ from, to }) => {
      if (held.has(`${from} ${to}`)) throw wrong(`a connection is held from ${from} to ${to} already`);
      held.add(`${from} ${to}`);
    },
    needHeld: ({ from, to }) => {
      if (!held.has(`${from} ${to}`)) throw wrong(`no connection is held from ${from} to ${to}`);
    },
    seeTable: (as) => {
      if (as === "before" && !tableSeen)
        throw wrong("nothing was before: first expect every flow passes or not as fairlead why says");
      tableSeen = true;
    },
  };
}

const wrong = (message: string): Fault => new Fault("lab-failed", message);
