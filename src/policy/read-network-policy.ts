// A NetworkPolicy as rules of the model: which directions it isolates, and what it lets pass there.

import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort } from "../kube/policy-objects.ts";
import { readBlock } from "./block.ts";
import { everyPod } from "./membership.ts";
import type { CanonicalSelector, Direction, Peer, PortMatch, Rule } from "./model.ts";
import { readPolicyPort } from "./port.ts";
import { type Problem, type Report, objectTitle, reporter } from "./problem.ts";
import { type ReadRules, type Refer, selectedPods } from "./read-rules.ts";
import { canonicalSelector, nothing } from "./selector.ts";

/** "audit": what no rule allows is logged and passes, as long as the pod is isolated by such policies alone. */
export const modeAnnotation = "fairlead.dev/mode";

export interface ReadNetworkPolicy extends ReadRules {
  namespace: string;
  pods: CanonicalSelector;
}

/** Reads what a policy says; what cannot be read allows nothing, and is added to `problems`. */
export function readNetworkPolicy(policy: NetworkPolicy, refer: Refer, problems: Problem[]): ReadNetworkPolicy {
  const { metadata, spec } = policy;
  const namespace = metadata.namespace ?? "";
  const title = objectTitle("NetworkPolicy", metadata);
  const report = reporter(title, problems);
  const mode = metadata.annotations?.[modeAnnotation];
  if (mode !== undefined && mode !== "audit" && mode !== "enforce") {
    report(
      `metadata.annotations[${JSON.stringify(modeAnnotation)}]`,
      `${JSON.stringify(mode)} is neither audit nor enforce; the policy is enforced`,
    );
  }
  const reading: Reading = { title, namespace, refer, report };
  return {
    title,
    namespace,
    audit: mode === "audit",
    pods: canonicalSelector(spec.podSelector, "spec.podSelector", report) ?? nothing,
    ...(isolates(policy, "ingress") ? { ingress: readRules(reading, "ingress", spec.ingress) } : {}),
    ...(isolates(policy, "egress") ? { egress: readRules(reading, "egress", spec.egress) } : {}),
  };
}

/** `policyTypes`, defaulted as the API server does: ingress always, egress where there are rules for it. */
function isolates({ spec }: NetworkPolicy, direction: Direction): boolean {
  const { policyTypes = [], egress = [] } = spec;
  if (policyTypes.length === 0) return direction === "ingress" || egress.length > 0;
  return policyTypes.includes(direction === "ingress" ? "Ingress" : "Egress");
}

interface Reading {
  title: string;
  namespace: string;
  refer: Refer;
  report: Report;
}

interface GivenRule {
  from?: readonly NetworkPolicyPeer[];
  to?: readonly NetworkPolicyPeer[];
  ports?: readonly NetworkPolicyPort[];
}

function readRules(reading: Reading, direction: Direction, given: readonly GivenRule[] = []): Rule[] {
  return given.flatMap(({ from, to, ports: givenPorts = [] }, index) => {
    const path = `spec.${direction}[${index}]`;
    const side = direction === "ingress" ? "from" : "to";
    const givenPeers = (direction === "ingress" ? from : to) ?? [];
    const ports = givenPorts
      .map((port, at) => readPolicyPort(port, `${path}.ports[${at}]`, reading.report))
      .filter((port) => port !== undefined);
    const peers = givenPeers
      .map((peer, at) => readPeer(reading, peer, `${path}.${side}[${at}]`))
      .filter((peer) => peer !== undefined);
    // An empty list would match everything: a list of which nothing can be read must not become one.
    if (givenPorts.length > 0 && ports.length === 0) return [];
    if (givenPeers.length > 0 && peers.length === 0) return [];
    const rule = { from: `${reading.title} ${direction} rule ${index + 1}`, ports, peers };
    return direction === "egress" && peers.length === 0 ? namedForPods(rule, reading.refer) : [rule];
  });
}

/** A name is given by a pod: where a rule allows a named port of any peer, it allows that of every pod. */
function namedForPods(rule: Rule, refer: Refer): Rule[] {
  const isNamed = (port: PortMatch): boolean => "peerPort" in port;
  const named = rule.ports.filter(isNamed);
  if (named.length === 0) return [rule];
  const ofPods = { ...rule, ports: named, peers: [refer(everyPod)] };
  const numbered = rule.ports.filter((port) => !isNamed(port));
  return numbered.length === 0 ? [ofPods] : [{ ...rule, ports: numbered }, ofPods];
}

function readPeer({ namespace, refer, report }: Reading, peer: NetworkPolicyPeer, path: string): Peer | undefined {
  const { ipBlock, namespaceSelector, podSelector } = peer;
  if (ipBlock !== undefined) {
    if (namespaceSelector === undefined && podSelector === undefined)
      return readBlock(ipBlock, `${path}.ipBlock`, report);
    report(path, "ipBlock stands alone in its item; the peer allows nothing; make the selectors an item of their own");
    return undefined;
  }
  if (namespaceSelector === undefined && podSelector === undefined) {
    report(path, "names nobody; the peer allows nothing; every pod is namespaceSelector: {}");
    return undefined;
  }
  return selectedPods({ namespaceSelector, podSelector, namespace }, path, refer, report);
}
