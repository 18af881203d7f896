// Rules and layers written down in one line each, for tests.

import { type Cidr, parseCidr } from "../../src/net/cidr.ts";
import type { Layer, Peer, PortMatch, Rule } from "../../src/policy/model.ts";
import { key } from "./compile-world.ts";

export const web: Peer = { members: key("a") };
export const db: Peer = { members: key("b") };

export function tcp(first: number, last = first): PortMatch {
  return { protocol: 6, first, last };
}

export function block(text: string, ...except: string[]): Peer {
  return { block: cidr(text), except: except.map(cidr) };
}

export function rule(ports: readonly PortMatch[], ...peers: Peer[]): Rule {
  return { from: "a rule", ports, peers };
}

/** An ingress layer of groups that denies, but for what `some` says. */
export function layerOf(rules: readonly Rule[], some: Partial<Layer> = {}): Layer {
  return { kind: "groups", direction: "ingress", id: "a", objects: [], otherwise: "deny", rules, ...some };
}

function cidr(text: string): Cidr {
  const parsed = parseCidr(text);
  if (parsed === undefined) throw new Error(`${text} is no network`);
  return parsed;
}
