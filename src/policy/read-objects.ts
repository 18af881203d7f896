// Everything that people have written, read once and put where questions find it.

import type { Namespace } from "../kube/policy-objects.ts";
import { breakGlassAnnotation, readBreakGlass } from "./break-glass.ts";
import { dnsRule } from "./dns.ts";
import { defaultKeys, type PolicyKeys } from "./keys.ts";
import { namespaceNameLabel } from "./membership.ts";
import type {
  BreakGlass,
  CanonicalSelector,
  MembershipDefinition,
  MembershipKey,
  Peer,
  PolicyObjects,
  Rule,
} from "./model.ts";
import { objectTitle, type Problem, reporter } from "./problem.ts";
import { type ReadBinding, type ReadGroup, readBinding, readGroup, readGroupPolicy } from "./read-group.ts";
import { type ReadNetworkPolicy, readNetworkPolicy } from "./read-network-policy.ts";
import { perPodNamespaces } from "./source-guard.ts";
import { type Labels, order, selects } from "./selector.ts";

/** The objects as questions need them. The order of the objects makes no difference to any answer. */
export interface ReadObjects {
  /** Labels of namespaces, by name. */
  namespaces: ReadonlyMap<string, Labels>;
  /** Labels of service accounts, by namespace and name. */
  serviceAccounts: ReadonlyMap<string, ReadonlyMap<string, Labels>>;
  /** By namespace, sorted by name. */
  networkPolicies: ReadonlyMap<string, readonly ReadNetworkPolicy[]>;
  groups: ReadonlyMap<string, ReadGroup>;
  /** SecurityGroupBindings and SecurityGroupPolicies, by namespace. */
  bindings: ReadonlyMap<string, readonly ReadBinding[]>;
  /** Of namespaces, by name, whether it lasts now or not. */
  breakGlass: ReadonlyMap<string, BreakGlass>;
  /** Namespaces whose pods may leave the source guard. */
  perPodGuard: ReadonlySet<string>;
  /** What egress of groups allows beside the groups' own rules. */
  alwaysEgress: readonly Rule[];
  /** Every membership that some rule refers to. */
  memberships: ReadonlyMap<MembershipKey, MembershipDefinition>;
  /** What is wrong within objects; what is wrong with what a pod is bound to, `groupsOf` says. */
  problems: readonly Problem[];
}

/** Reads all objects, as the keys have it. It costs as much as there are rules: once for each state of the objects. */
export function readObjects(
  objects: PolicyObjects,
  { allowDns }: Pick<PolicyKeys, "allowDns"> = defaultKeys,
): ReadObjects {
  const problems: Problem[] = [];
  const memberships = new Map<MembershipKey, MembershipDefinition>();
  const refer = (definition: MembershipDefinition): Peer => {
    memberships.set(definition.key, definition);
    return { members: definition.key };
  };
  const policies = objects.networkPolicies.map((policy) => readNetworkPolicy(policy, refer, problems));
  const groups = objects.groups.map((group) => readGroup(group, refer, problems));
  const bindings = [
    ...objects.bindings.map((binding) => readBinding(binding, problems)),
    ...objects.groupPolicies.map((policy) => readGroupPolicy(policy, problems)),
  ].filter((binding) => binding !== undefined);
  return {
    namespaces: new Map(
      objects.namespaces.map(({ metadata: { name, labels } }) => [name, { ...labels, [namespaceNameLabel]: name }]),
    ),
    serviceAccounts: new Map(
      [...Map.groupBy(objects.serviceAccounts, ({ metadata }) => metadata.namespace ?? "")].map(
        ([namespace, accounts]) => [
          namespace,
          new Map(accounts.map(({ metadata: { name, labels = {} } }) => [name, labels])),
        ],
      ),
    ),
    networkPolicies: byNamespace(policies),
    groups: new Map(groups.map((group) => [group.name, group])),
    bindings: byNamespace(bindings),
    breakGlass: breakGlassOf(objects.namespaces, problems),
    perPodGuard: perPodNamespaces(objects.namespaces, problems),
    alwaysEgress: allowDns === null ? [] : [dnsRule(allowDns, refer, problems)],
    memberships: new Map([...memberships].sort(([a], [b]) => order(a, b))),
    problems: problems.sort((a, b) => order(a.object, b.object)),
  };
}

function breakGlassOf(namespaces: readonly Namespace[], problems: Problem[]): Map<string, BreakGlass> {
  return new Map(
    namespaces.flatMap(({ metadata: { name, annotations } }): [string, BreakGlass][] => {
      const title = objectTitle("Namespace", { name });
      const read = readBreakGlass(title, annotations?.[breakGlassAnnotation], reporter(title, problems));
      return read === undefined ? [] : [[name, read]];
    }),
  );
}

function byNamespace<T extends { namespace: string; title: string }>(objects: readonly T[]): Map<string, T[]> {
  const sorted = objects.toSorted((a, b) => order(a.title, b.title));
  return Map.groupBy(sorted, ({ namespace }) => namespace);
}

/** Every membership that some object refers to, each once. */
export function neededMemberships({ memberships }: ReadObjects): MembershipDefinition[] {
  return [...memberships.values()];
}

/**
 * True where `selector` selects the namespace. Of one that is not known (yet) only its name is: what asks for other labels does not
 * select it, whatever it asks, since "not labelled so" would be a guess.
 */
export function selectsNamespace(
  { namespaces }: Pick<ReadObjects, "namespaces">,
  selector: CanonicalSelector,
  name: string,
): boolean {
  const labels = namespaces.get(name);
  if (labels !== undefined) return selects(selector, labels);
  return selector.every(({ key }) => key === namespaceNameLabel) && selects(selector, { [namespaceNameLabel]: name });
}
