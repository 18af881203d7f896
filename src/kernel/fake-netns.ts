// One namespace of the fake kernel: operations in order, observations, settings.

import { present, unreachable } from "../base/assert.ts";
import { Fault } from "../base/fault.ts";
import type { Conntrack, Guard, LinkRef, Masquerade, PolicyTable, Netns, Op, OpResult } from "./contract.ts";
import {
  addAddress,
  allAddresses,
  allNeighbours,
  removeAddress,
  removeNeighbour,
  setNeighbour,
} from "./fake-addresses.ts";
import type { FlowLog } from "./flow-log-contract.ts";
import { addVeth, changeLink, linkOf, removeGroup, removeLink } from "./fake-links.ts";
import { allRoutes, removeRoute, setRoute } from "./fake-routes.ts";
import { addRule, allRules, removeRule } from "./fake-rules.ts";
import { checkCount, readSettings, writeSetting } from "./fake-sysctls.ts";
import { type FakeLink, type FakeNamespace, type Refusal, findLink, refusal } from "./fake-world.ts";
import { packBatches } from "./netlink/batch.ts";
import { createSequence, errnoName, goneErrnos, verdictFault } from "./netlink/message.ts";
import { opPhrase } from "./netlink/ops.ts";

/** What can be made to fail: an operation by its name, and calls. */
export type FakeCall =
  | Op["op"]
  | `guard.${keyof Guard}`
  | `masquerade.${keyof Masquerade}`
  | `policy.${keyof PolicyTable}`
  | `conntrack.${keyof Conntrack}`
  | `flowLog.${keyof FlowLog}`
  | "netns.open"
  | "netns.read"
  | "sysctl.write";

export interface FakeNetnsDeps {
  /** Throws where the call is to fail before it does anything; gives what throws where it is to fail after. */
  begin: (call: FakeCall) => () => void;
  /** Called after whatever can have changed something, with the operation if it was one. */
  changed: (cause?: Op["op"]) => void;
  /** The handles that are open, and what each of them is on. */
  open: Map<Netns, FakeNamespace>;
  /** Lets go of a namespace: one handle on it is closed. */
  release: (namespace: FakeNamespace) => void;
}

/** Makes a handle on `namespace`. */
export function createFakeNetns(namespace: FakeNamespace, deps: FakeNetnsDeps): Netns {
  const { begin, changed, open, release } = deps;
  const nextSequence = createSequence();

  function mustBeOpen(what: string): void {
    if (!open.has(netns)) throw new Fault("kernel-refused", `${what}: the namespace was closed`);
  }

  async function read<T>(what: string, value: () => T): Promise<T> {
    mustBeOpen(what);
    begin("netns.read")();
    return value();
  }

  function peerOf(peer: Netns): FakeNamespace {
    const found = open.get(peer);
    if (found === undefined) throw new Fault("kernel-refused", "the namespace for the peer was closed");
    return found;
  }

  const netns: Netns = {
    id: namespace.id,
    // Done when called, so that lists take effect in the order of the calls, and none sees another half done.
    apply: async (ops) => {
      mustBeOpen("applying operations");
      // The real encoder refuses what no message can say, before anything is done.
      packBatches(ops, (peer) => (peerOf(peer), 0), nextSequence);
      return ops.map((op) => answer(op, () => perform(namespace, op, peerOf), deps));
    },
    link: (ref) => read(`looking up ${ref}`, () => lookUp(namespace, ref)),
    carries: (ref) => read(`looking up ${ref}`, () => lookUp(namespace, ref)?.running ?? true),
    links: () => read("reading links", () => Array.from(namespace.links.values(), linkOf)),
    addresses: () => read("reading addresses", () => allAddresses(namespace)),
    routes: () => read("reading routes", () => allRoutes(namespace)),
    rules: () => read("reading rules", () => allRules(namespace)),
    neighbours: () => read("reading neighbours", () => allNeighbours(namespace)),
    programs: () => read("reading queues", () => []),
    tcxPrograms: (links) =>
      read("reading programs", () => links.filter((index) => (namespace.links.get(index)?.tcxPrograms ?? 0) > 0)),
    writeSysctls: async (values) => {
      mustBeOpen("writing sysctls");
      const end = begin("sysctl.write");
      checkCount(Object.keys(values).length);
      for (const [key, value] of Object.entries(values)) writeSetting(namespace, key, value);
      changed();
      end();
    },
    readSysctls: async (keys) => {
      mustBeOpen("reading sysctls");
      return readSettings(namespace, keys);
    },
    close: () => {
      if (open.delete(netns)) release(namespace);
    },
  };
  return netns;
}

function lookUp(namespace: FakeNamespace, ref: LinkRef) {
  const link = findLink(namespace, ref);
  return link === undefined ? undefined : linkOf(link);
}

type Outcome = Refusal | { index: number; peerIndex: number };

/** The answer to one operation; removing what is gone is success. */
function answer(op: Op, run: () => Outcome, { begin, changed }: FakeNetnsDeps): OpResult {
  try {
    const end = begin(op.op);
    const outcome = run();
    changed(op.op);
    end();
    if (outcome === undefined || !("errno" in outcome)) return outcome ?? {};
    const removes = op.op.includes(".remove");
    if (removes && goneErrnos.includes(errnoName(outcome.errno))) return {};
    return { fault: verdictFault(opPhrase(op), outcome) };
  } catch (error) {
    if (error instanceof Fault) return { fault: error };
    throw error;
  }
}

function perform(namespace: FakeNamespace, op: Op, peerOf: (peer: Netns) => FakeNamespace): Outcome {
  const onLink = (index: number, act: (link: FakeLink) => Refusal): Refusal => {
    const link = namespace.links.get(index);
    return link === undefined ? refusal("ENODEV") : act(link);
  };
  switch (op.op) {
    case "link.addVeth": {
      const made = addVeth(namespace, op, peerOf(op.peer.netns));
      return "errno" in made ? made : { index: made.index, peerIndex: present(made.peer, "a peer").link.index };
    }
    case "link.set":
      return changeLink(namespace, op.link, op);
    case "link.remove":
      return removeLink(namespace, op.link);
    case "link.removeGroup":
      return removeGroup(namespace, op.group);
    case "address.add":
      return onLink(op.link, (link) => addAddress(namespace, link, op.address, op.prefix));
    case "address.remove":
      return onLink(op.link, (link) => removeAddress(namespace, link, op.address, op.prefix));
    case "route.add":
    case "route.replace":
      return setRoute(namespace, op.route, op.op === "route.replace");
    case "route.remove":
      return removeRoute(namespace, op.route);
    case "rule.add":
      return addRule(namespace, op.rule);
    case "rule.remove":
      return removeRule(namespace, op.rule);
    case "neighbour.set":
      return onLink(op.link, (link) => setNeighbour(namespace, link, op.address, op.mac));
    case "neighbour.remove":
      return onLink(op.link, (link) => removeNeighbour(namespace, link, op.address));
    default:
      return unreachable(op, "operation");
  }
}
