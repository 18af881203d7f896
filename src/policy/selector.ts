// Label selectors in one spelling: those that say the same become the same text, and an unreadable one selects nothing.

import { unreachable } from "../base/assert.ts";
import type { LabelSelector } from "../kube/policy-objects.ts";
import type { CanonicalSelector, Requirement } from "./model.ts";
import type { Report } from "./problem.ts";

export type Labels = Readonly<Record<string, string>>;

/** Selects every object. */
export const everything: CanonicalSelector = [];
/** Selects no object. No label has an empty key, so no selector that can be read has this text. */
export const nothing: CanonicalSelector = [{ key: "", operator: "In", values: [] }];

/** What one key must be, while requirements are merged. */
interface KeyRule {
  /** Absent: any value. */
  in?: ReadonlySet<string>;
  notIn: Set<string>;
  present: boolean;
  absent: boolean;
}

// Kubernetes' rules for labels (apimachinery, "Syntax and character set"). Nothing else is on any object, and text of other characters could
// make two selectors look alike.
const nameForm = /^[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const prefixForm = /^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/;

function isLabelKey(key: string): boolean {
  const slash = key.indexOf("/");
  return nameForm.test(key.slice(slash + 1)) && (slash < 0 || prefixForm.test(key.slice(0, slash)));
}

const isLabelValue = (value: string): boolean => value === "" || nameForm.test(value);

/**
 * Reads a selector: matchLabels among the expressions, what one key must be merged, sorted. What cannot be is `nothing`.
 * An expression that the API server would refuse makes the whole unreadable (undefined, reported below `path`): objects of
 * Fairlead's own kinds come with selectors that no server has looked at.
 */
export function canonicalSelector(
  { matchLabels = {}, matchExpressions = [] }: LabelSelector,
  path: string,
  report: Report,
): CanonicalSelector | undefined {
  let readable = true;
  const refuse = (where: string, message: string): void => {
    readable = false;
    report(`${path}.${where}`, `${message}; the selector selects nothing`);
  };
  const rules = new Map<string, KeyRule>();
  const add = (requirement: Requirement, where: string): void => {
    const wrong = faultOf(requirement);
    if (wrong === undefined) rules.set(requirement.key, merged(rules.get(requirement.key), requirement));
    else refuse(where, wrong);
  };
  for (const [key, value] of Object.entries(matchLabels)) {
    add({ key, operator: "In", values: [value] }, `matchLabels[${JSON.stringify(key)}]`);
  }
  matchExpressions.forEach(({ key, operator, values = [] }, index) => {
    add({ key, operator, values }, `matchExpressions[${index}]`);
  });
  return readable ? selectorOf(rules) : undefined;
}

/** Says what a server would refuse. */
function faultOf({ key, operator, values }: Requirement): string | undefined {
  if (!isLabelKey(key)) return `${JSON.stringify(key)} is not the key of a label`;
  const takesValues = operator === "In" || operator === "NotIn";
  if (takesValues && values.length === 0) return `${operator} needs values`;
  if (!takesValues && values.length > 0) return `${operator} takes no values`;
  const wrong = values.find((value) => !isLabelValue(value));
  return wrong === undefined ? undefined : `${JSON.stringify(wrong)} is not the value of a label`;
}

function merged(before: KeyRule | undefined, { operator, values }: Requirement): KeyRule {
  const rule = before ?? { notIn: new Set<string>(), present: false, absent: false };
  if (operator === "Exists") rule.present = true;
  if (operator === "DoesNotExist") rule.absent = true;
  if (operator === "NotIn") for (const value of values) rule.notIn.add(value);
  if (operator === "In") {
    const allowed = rule.in;
    rule.in = new Set(allowed === undefined ? values : values.filter((value) => allowed.has(value)));
  }
  return rule;
}

function selectorOf(rules: ReadonlyMap<string, KeyRule>): CanonicalSelector {
  const requirements: Requirement[] = [];
  for (const [key, rule] of [...rules].sort(([a], [b]) => order(a, b))) {
    const ofKey = requirementsOf(key, rule);
    if (ofKey === undefined) return nothing;
    requirements.push(...ofKey);
  }
  return requirements;
}

/** At most two; undefined where no label can be so. */
function requirementsOf(key: string, { in: allowed, notIn, present, absent }: KeyRule): Requirement[] | undefined {
  if (absent) return present || allowed !== undefined ? undefined : [{ key, operator: "DoesNotExist", values: [] }];
  if (allowed !== undefined) {
    const values = [...allowed].filter((value) => !notIn.has(value)).sort(order);
    return values.length === 0 ? undefined : [{ key, operator: "In", values }];
  }
  const requirements: Requirement[] = [];
  if (present) requirements.push({ key, operator: "Exists", values: [] });
  if (notIn.size > 0) requirements.push({ key, operator: "NotIn", values: [...notIn].sort(order) });
  return requirements;
}

/** By code units: the same everywhere, unlike the order of a language. */
export const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** True where `labels` meet every requirement. NotIn is met by what lacks the label, too. */
export function selects(selector: CanonicalSelector, labels: Labels): boolean {
  return selector.every((requirement) => meets(requirement, labels));
}

function meets({ key, operator, values }: Requirement, labels: Labels): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
    default:
      return unreachable(operator, "operator");
  }
}

/** As kubectl writes selectors: "app=web,tier in (a,b),!old"; "*" for everything, "(none)" for nothing. */
export function selectorText(selector: CanonicalSelector): string {
  if (selector.length === 0) return "*";
  return selector.map(requirementText).join(",");
}

function requirementText({ key, operator, values }: Requirement): string {
  switch (operator) {
    case "In":
      if (key === "") return "(none)";
      return values.length === 1 ? `${key}=${values[0]}` : `${key} in (${values.join(",")})`;
    case "NotIn":
      return values.length === 1 ? `${key}!=${values[0]}` : `${key} notin (${values.join(",")})`;
    case "Exists":
      return key;
    case "DoesNotExist":
      return `!${key}`;
    default:
      return unreachable(operator, "operator");
  }
}
