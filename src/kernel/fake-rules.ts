// The fake kernel's policy rules.

import { cidrPrefix } from "../net/cidr.ts";
import { type Rule, routeProtocol } from "./contract.ts";
import { type FakeNamespace, type FakeRule, type Refusal, refusal } from "./fake-world.ts";

const wholeMask = 0xffff_ffff;

/** Adds a rule behind those of its priority. As in the kernel, one with more selectors of addresses counts as the same, one with another mark does not. */
export function addRule(namespace: FakeNamespace, asked: Rule): Refusal {
  const rule = complete(asked);
  const exists = namespace.rules.some(
    (held) => held.mark === rule.mark && held.mask === rule.mask && covers(held, rule),
  );
  if (exists) return refusal("EEXIST");
  const at = namespace.rules.findIndex(
    (held) => held.family > rule.family || (held.family === rule.family && held.priority > rule.priority),
  );
  namespace.rules.splice(at < 0 ? namespace.rules.length : at, 0, rule);
  return undefined;
}

/** Removes the first rule that has everything that this one names. */
export function removeRule(namespace: FakeNamespace, asked: Rule): Refusal {
  const rule = complete(asked);
  const at = namespace.rules.findIndex((held) => covers(held, rule));
  if (at < 0) return refusal("ENOENT");
  namespace.rules.splice(at, 1);
  return undefined;
}

/** Every rule as it is read: what selects nothing is absent. */
export function allRules({ rules }: FakeNamespace): Rule[] {
  return rules.map(({ mark, mask, ...rule }) => ({
    ...rule,
    ...(mark === 0 && mask === 0 ? {} : { mark }),
    ...(mask === 0 || mask === wholeMask ? {} : { mask }),
  }));
}

/** True where `held` has everything that `named` names. */
function covers(held: FakeRule, named: FakeRule): boolean {
  return (
    held.family === named.family &&
    held.priority === named.priority &&
    held.table === named.table &&
    held.protocol === named.protocol &&
    (named.from === undefined || held.from === named.from) &&
    (named.to === undefined || held.to === named.to) &&
    (named.mark === 0 || held.mark === named.mark) &&
    (named.mask === 0 || held.mask === named.mask)
  );
}

/** A mark that is not zero is compared whole unless a mask is named; with the mask 0 no mark is looked at. */
function complete({ family, priority, table, from, to, mark = 0, mask, protocol = routeProtocol }: Rule): FakeRule {
  return {
    family,
    priority,
    table,
    ...(from === undefined || cidrPrefix(from) === 0 ? {} : { from }),
    ...(to === undefined || cidrPrefix(to) === 0 ? {} : { to }),
    mark,
    mask: mask ?? (mark === 0 ? 0 : wholeMask),
    protocol,
  };
}
