// Security groups, and the objects that bind pods to them, as the model needs them.

import type {
  GroupPeer,
  GroupRule,
  LabelSelector,
  SecurityGroup,
  SecurityGroupBinding,
  SecurityGroupPolicy,
} from "../kube/policy-objects.ts";
import { parseCidr } from "../net/cidr.ts";
import { notCidr } from "../net/schema.ts";
import { readBlock, readCidr } from "./block.ts";
import { groupMembership } from "./membership.ts";
import type { CanonicalSelector, Direction, Peer, Rule } from "./model.ts";
import { readGroupPorts } from "./port.ts";
import { type Problem, type Report, objectTitle, reporter } from "./problem.ts";
import { type ReadRules, type Refer, selectedPods } from "./read-rules.ts";
import { canonicalSelector, nothing } from "./selector.ts";

/** With `egress` absent members may send everything. */
export interface ReadGroup extends ReadRules {
  name: string;
  /** Namespaces whose bindings may name it. */
  bindableFrom: CanonicalSelector;
  ingress: readonly Rule[];
}

/** Which pods of its namespace an object binds to which groups. */
export interface ReadBinding {
  title: string;
  namespace: string;
  /** Absent: whatever their labels. */
  pods?: CanonicalSelector;
  /** Absent: whatever their service account. */
  serviceAccounts?: CanonicalSelector;
  groups: readonly { name: string; path: string }[];
}

/** Reads what a group says; what cannot be read allows nothing, and is added to `problems`. */
export function readGroup({ metadata, spec }: SecurityGroup, refer: Refer, problems: Problem[]): ReadGroup {
  const title = objectTitle("SecurityGroup", { name: metadata.name });
  const report = reporter(title, problems);
  const rules = (direction: Direction, given: readonly GroupRule[]): Rule[] =>
    given.flatMap((rule, index) => {
      const path = `spec.${direction}[${index}]`;
      const side = "from" in rule ? "from" : "to";
      const given = "from" in rule ? rule.from : rule.to;
      const ports = readGroupPorts(rule, path, report);
      const peers = given
        .map((peer, at) => readPeer(peer, `${path}.${side}[${at}]`, refer, report))
        .filter((peer) => peer !== undefined);
      // A list without peers would match everything.
      if (ports === undefined || peers.length === 0) return [];
      return [{ from: `${title} ${direction} rule ${index + 1}`, ports, peers }];
    });
  return {
    title,
    name: metadata.name,
    audit: spec.mode === "audit",
    bindableFrom: canonicalSelector(spec.bindableFrom, "spec.bindableFrom", report) ?? nothing,
    ingress: rules("ingress", spec.ingress ?? []),
    ...(spec.egress === undefined ? {} : { egress: rules("egress", spec.egress) }),
  };
}

function readPeer(peer: GroupPeer, path: string, refer: Refer, report: Report): Peer | undefined {
  const { cidr, except, securityGroup, namespaceSelector, podSelector } = peer;
  const refuse = (message: string): undefined => {
    report(path, `${message}; the peer allows nothing`);
    return undefined;
  };
  const said = [cidr, securityGroup, namespaceSelector].filter((part) => part !== undefined);
  if (said.length !== 1) return refuse("a peer is one of cidr, securityGroup and namespaceSelector");
  if (except !== undefined && cidr === undefined) return refuse("except is cut out of a cidr, and there is none");
  if (podSelector !== undefined && namespaceSelector === undefined) {
    return refuse("podSelector selects among the pods of namespaceSelector, and there is none");
  }
  if (cidr !== undefined) {
    reportHostBits(cidr, `${path}.cidr`, report);
    except?.forEach((text, index) => reportHostBits(text, `${path}.except[${index}]`, report));
    return readBlock({ cidr, ...(except === undefined ? {} : { except }) }, path, report);
  }
  if (securityGroup !== undefined) return refer(groupMembership(securityGroup));
  return selectedPods({ namespaceSelector, podSelector }, path, refer, report);
}

/** Host bits may stand for a wrong prefix: what is written counts, and is told. */
function reportHostBits(text: string, path: string, report: Report): void {
  if (parseCidr(text) === undefined && readCidr(text) !== undefined) report(path, notCidr(text));
}

/** Peers that name a group which is not among `groups`. Only who has all of them can say so. */
export function peersOfUnknownGroups(groups: readonly SecurityGroup[]): Problem[] {
  const known = new Set(groups.map(({ metadata }) => metadata.name));
  const problems: Problem[] = [];
  for (const { metadata, spec } of groups) {
    const report = reporter(objectTitle("SecurityGroup", { name: metadata.name }), problems);
    const look = (peers: readonly GroupPeer[], path: string): void =>
      peers.forEach(({ securityGroup }, at) => {
        if (securityGroup === undefined || known.has(securityGroup)) return;
        const title = objectTitle("SecurityGroup", { name: securityGroup });
        report(`${path}[${at}].securityGroup`, `there is no ${title}; the peer allows nobody`);
      });
    spec.ingress?.forEach(({ from }, at) => look(from, `spec.ingress[${at}].from`));
    spec.egress?.forEach(({ to }, at) => look(to, `spec.egress[${at}].to`));
  }
  return problems;
}

/** Reads a SecurityGroupBinding. */
export function readBinding({ metadata, spec }: SecurityGroupBinding, problems: Problem[]): ReadBinding | undefined {
  return bindingOf(
    objectTitle("SecurityGroupBinding", metadata),
    metadata.namespace ?? "",
    spec,
    spec.groups.map((name, index) => ({ name, path: `spec.groups[${index}]` })),
    problems,
  );
}

/** Reads a SecurityGroupPolicy, as clusters of AWS have it. */
export function readGroupPolicy({ metadata, spec }: SecurityGroupPolicy, problems: Problem[]): ReadBinding | undefined {
  return bindingOf(
    objectTitle("SecurityGroupPolicy", metadata),
    metadata.namespace ?? "",
    spec,
    (spec.securityGroups?.groupIds ?? []).map((name, index) => ({
      name,
      path: `spec.securityGroups.groupIds[${index}]`,
    })),
    problems,
  );
}

/** Undefined, with a problem, where it says nobody or nothing: then it binds no pod. */
function bindingOf(
  title: string,
  namespace: string,
  selectors: { podSelector?: LabelSelector; serviceAccountSelector?: LabelSelector },
  groups: ReadBinding["groups"],
  problems: Problem[],
): ReadBinding | undefined {
  const report = reporter(title, problems);
  const { podSelector, serviceAccountSelector } = selectors;
  if (podSelector === undefined && serviceAccountSelector === undefined) {
    report(
      "spec",
      "needs podSelector or serviceAccountSelector; it binds no pod; podSelector: {} is every pod of the namespace",
    );
    return undefined;
  }
  if (groups.length === 0) {
    report("spec", "names no security group; it binds no pod");
    return undefined;
  }
  const binding: ReadBinding = { title, namespace, groups };
  if (podSelector !== undefined) {
    binding.pods = canonicalSelector(podSelector, "spec.podSelector", report) ?? nothing;
  }
  if (serviceAccountSelector !== undefined) {
    binding.serviceAccounts =
      canonicalSelector(serviceAccountSelector, "spec.serviceAccountSelector", report) ?? nothing;
  }
  return binding;
}
