// Which names a scenario may use at each step: known before anything is made, so that a slip of the pen costs no run.

import { Fault } from "../src/base/fault.ts";
import type { Action, Expectation, Pairs } from "./actions.ts";
import { placeholder } from "./form.ts";
import { createPolicyNames } from "./policy-names.ts";

type Kind = "node" | "machine outside" | "pod" | "hostNetwork pod" | "container";

interface Known {
  kind: Kind;
  /** A container's pod. */
  pod?: string;
}

export interface Names {
  /** Takes note of what `action` makes and removes; `place` begins the message. @throws Fault "lab-failed" for a name that is not there, or of the wrong kind. */
  use(action: Action, place: string): void;
}

const places: readonly Kind[] = ["node", "machine outside", "pod", "hostNetwork pod", "container"];

/** Begins with nothing known: the first step has to be a cluster. */
export function createNames(): Names {
  const known = new Map<string, Known>();
  /** Pods that were deleted or restarted: there is an earlier sandbox to speak of. */
  const former = new Set<string>();
  let inKubernetes = false;
  const policy = createPolicyNames();

  function need(name: string, kinds: readonly Kind[]): void {
    const found = known.get(name);
    if (found === undefined) throw wrong(`there is no ${kinds.join(" or ")} ${name} at this point`);
    if (!kinds.includes(found.kind)) throw wrong(`${name} is a ${found.kind}, but a ${kinds.join(" or ")} is needed`);
  }

  function needFree(name: string): void {
    if (known.has(name)) throw wrong(`there is a ${known.get(name)?.kind} ${name} already`);
  }

  function add(name: string, entry: Known): void {
    needFree(name);
    known.set(name, entry);
  }

  function useAction(action: Action): void {
    if (action.do !== "cluster" && known.size === 0) throw wrong("the first step has to be a cluster");
    switch (action.do) {
      case "cluster":
        if (known.size > 0) throw wrong("there is a cluster already");
        inKubernetes = action.assign !== undefined;
        for (let node = 1; node <= action.nodes; node += 1) known.set(`node-${node}`, { kind: "node" });
        if (action.masquerade === true || action.outside === true) known.set("outside", { kind: "machine outside" });
        return;
      case "add pod":
        return addPod(action);
      case "add namespace":
        needKubernetes();
        return policy.addNamespace(action.namespace);
      case "label":
        needKubernetes();
        return action.kind === "pod"
          ? need(action.name, ["pod", "hostNetwork pod"])
          : policy.needNamespace(action.name);
      case "objects":
        return needKubernetes();
      case "hold":
        namedIn(action.pair).forEach((name) => need(name, places));
        return policy.hold(action.pair);
      case "add container":
        need(action.pod, ["pod", "hostNetwork pod"]);
        return add(action.container, { kind: "container", pod: action.pod });
      case "delete pod":
        need(action.pod, ["pod", "hostNetwork pod"]);
        if (known.get(action.pod)?.kind === "pod") former.add(action.pod);
        for (const [name, { pod }] of known) if (name === action.pod || pod === action.pod) known.delete(name);
        return;
      case "restart pod":
        need(action.pod, ["pod"]);
        former.add(action.pod);
        return;
      case "delete again":
        return needFormer(action.pod);
      case "check pod":
        return need(action.pod, ["pod"]);
      case "controller":
      case "api server":
        return needKubernetes();
      case "agent":
        return need(action.node, ["node"]);
      case "run":
        return [action.place, ...placeholderNames(action.command)].forEach((name) => need(name, places));
      case "expect":
        return useExpectation(action.expectation);
    }
  }

  function addPod({ pod, wish: { node, namespace, labels = {}, account, ports = [], hostNetwork } }: AddPod): void {
    need(node, ["node"]);
    if (namespace !== undefined || account !== undefined || Object.keys(labels).length + ports.length > 0)
      needKubernetes();
    if (namespace !== undefined) policy.needNamespace(namespace);
    add(pod, { kind: hostNetwork === true ? "hostNetwork pod" : "pod" });
  }

  function useExpectation(expectation: Expectation): void {
    switch (expectation.expect) {
      case "reach":
        if (expectation.seenAs !== undefined) need(expectation.seenAs, ["node"]);
        return namedIn(expectation.pairs).forEach((name) => need(name, places));
      case "shared localhost":
        return expectation.containers.forEach((name) => need(name, ["pod", "container"]));
      case "untouched":
        return need(expectation.pod, ["hostNetwork pod"]);
      case "own addresses":
      case "exact nodes":
        return;
      case "known pods":
      case "failing apply":
      case "enforced group":
        return needKubernetes();
      case "flows":
        needKubernetes();
        return policy.seeTable(expectation.as);
      case "explained flow":
      case "told denial":
        needKubernetes();
        if (expectation.expect === "told denial") need(expectation.node, ["node"]);
        return namedIn(expectation.pair).forEach((name) => need(name, places));
      case "held connection":
        return policy.needHeld(expectation.pair);
      case "other addresses":
        need(expectation.pod, ["pod"]);
        return needFormer(expectation.pod);
      case "failing check":
        need(expectation.pod, ["pod"]);
        return placeholderNames([expectation.words]).forEach((name) => need(name, places));
      case "failing pod":
        need(expectation.node, ["node"]);
        return needFree(expectation.pod);
      case "nothing left":
        return need(expectation.node, ["node"]);
    }
  }

  function needKubernetes(): void {
    if (!inKubernetes) throw wrong("there is no Kubernetes in this cluster; begin with: cluster kubernetes nodes=2");
  }

  function needFormer(pod: string): void {
    if (!former.has(pod)) throw wrong(`pod ${pod} was neither deleted nor restarted before`);
  }

  return {
    use: (action, place) => {
      try {
        useAction(action);
      } catch (error) {
        throw new Fault("lab-failed", `${place}: ${error instanceof Error ? error.message : String(error)}`);
      }
    },
  };
}

type AddPod = Extract<Action, { do: "add pod" }>;

function placeholderNames(words: readonly string[]): string[] {
  return words.flatMap((word) => [...word.matchAll(placeholder)].flatMap(([, name]) => name ?? []));
}

function namedIn(pairs: Pairs): string[] {
  return typeof pairs === "string" ? [] : [pairs.from, pairs.to];
}

function wrong(message: string): Fault {
  return new Fault("lab-failed", message);
}
