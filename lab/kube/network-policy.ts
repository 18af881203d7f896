// What Kubernetes itself says of NetworkPolicies (pkg/apis/networking/v1/defaults.go and validation of v1.36).

import { cidrContains, cidrOf, parseInterfaceAddress } from "../../src/net/cidr.ts";
import { isLabelKey, isLabelValue, labelValueWords, qualifiedWords } from "./names.ts";
import type { Rules } from "./resource.ts";
import { type Cause, wrong } from "./status.ts";
import { type Json, type JsonObject, at, clone, isObject, listAt, objectAt, textAt, textsAt } from "./value.ts";

const protocols = ["TCP", "UDP", "SCTP"];
const policyTypes = ["Ingress", "Egress"];
const portWords = "must be between 1 and 65535, inclusive";
const portNumberMax = 65_535;
const portNameLenMax = 15;
const portName = /^(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*$/;

/** The two directions: their list of rules, and the list of peers in each. */
const directions = [
  ["ingress", "from"],
  ["egress", "to"],
] as const;

export const networkPolicyRules: Rules = {
  shape: (object) => {
    const spec = clone(objectAt(object, "spec"));
    for (const [direction] of directions)
      for (const rule of listAt(spec, direction))
        for (const port of listAt(rule, "ports")) if (isObject(port)) port["protocol"] ??= "TCP";
    if (textsAt(spec, "policyTypes").length === 0)
      spec["policyTypes"] = listAt(spec, "egress").length === 0 ? ["Ingress"] : policyTypes.slice();
    object["spec"] = spec;
    return [];
  },
  validate: (object) => {
    const spec = objectAt(object, "spec");
    return [
      ...selectorCauses(at(spec, "podSelector"), "spec.podSelector"),
      ...directions.flatMap(([direction, peers]) =>
        listAt(spec, direction).flatMap((rule, index) => ruleCauses(rule, peers, `spec.${direction}[${index}]`)),
      ),
      ...typeCauses(textsAt(spec, "policyTypes")),
    ];
  },
};

function typeCauses(types: readonly string[]): Cause[] {
  const field = "spec.policyTypes";
  if (types.length > policyTypes.length)
    return [wrong.value(field, types.length, "may not specify more than two policyTypes")];
  return types.flatMap((type, index) =>
    policyTypes.includes(type) ? [] : [wrong.unsupported(`${field}[${index}]`, type, policyTypes)],
  );
}

function ruleCauses(rule: Json, peers: "from" | "to", path: string): Cause[] {
  return [
    ...listAt(rule, "ports").flatMap((port, index) => portCauses(port, `${path}.ports[${index}]`)),
    ...listAt(rule, peers).flatMap((peer, index) => peerCauses(peer, `${path}.${peers}[${index}]`)),
  ];
}

function portCauses(port: Json, path: string): Cause[] {
  const causes: Cause[] = [];
  const [protocol, number, end] = [textAt(port, "protocol") ?? "", at(port, "port"), at(port, "endPort")];
  if (!protocols.includes(protocol)) causes.push(wrong.unsupported(`${path}.protocol`, protocol, protocols));
  const isPort = (value: Json): boolean => typeof value === "number" && value >= 1 && value <= portNumberMax;
  if (typeof number === "number") {
    if (!isPort(number)) causes.push(wrong.value(`${path}.port`, number, portWords));
    if (typeof end === "number" && end < number)
      causes.push(wrong.value(`${path}.endPort`, number, "must be greater than or equal to `port`"));
    if (end !== undefined && !isPort(end)) causes.push(wrong.value(`${path}.endPort`, end, portWords));
    return causes;
  }
  if (end !== undefined) {
    const why = number === undefined ? "is not specified" : "is non-numeric";
    causes.push(wrong.value(`${path}.endPort`, end, `may not be specified when \`port\` ${why}`));
  }
  if (typeof number === "string" && (number.length > portNameLenMax || !portName.test(number)))
    causes.push(wrong.value(`${path}.port`, number, "is no name of a port such as http or dns-tcp"));
  return causes;
}

function peerCauses(peer: Json, path: string): Cause[] {
  const block = at(peer, "ipBlock");
  const selectors = (["podSelector", "namespaceSelector"] as const).filter((part) => at(peer, part) !== undefined);
  if (block === undefined && selectors.length === 0) return [wrong.missing(path, "must specify a peer")];
  return [
    ...selectors.flatMap((part) => selectorCauses(at(peer, part), `${path}.${part}`)),
    ...(block === undefined ? [] : blockCauses(block, `${path}.ipBlock`)),
    ...(block !== undefined && selectors.length > 0
      ? [wrong.forbidden(path, "may not specify both ipBlock and another peer")]
      : []),
  ];
}

function blockCauses(block: Json, path: string): Cause[] {
  const text = textAt(block, "cidr") ?? "";
  if (text === "") return [wrong.missing(`${path}.cidr`)];
  const outer = parseInterfaceAddress(text);
  const words = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
  if (outer === undefined) return [wrong.value(`${path}.cidr`, text, words)];
  return textsAt(block, "except").flatMap((each, index) => {
    const field = `${path}.except[${index}]`;
    const inner = parseInterfaceAddress(each);
    if (inner === undefined) return [wrong.value(field, each, words)];
    const within = cidrContains(cidrOf(outer.address, outer.prefix), inner.address) && outer.prefix < inner.prefix;
    return within ? [] : [wrong.value(field, each, "must be a strict subset of `cidr`")];
  });
}

/** What is wrong with a label selector (apimachinery/pkg/apis/meta/v1/validation). */
function selectorCauses(selector: Json | undefined, path: string): Cause[] {
  return [
    ...Object.entries(objectAt(selector, "matchLabels")).flatMap(([key, value]) => {
      const field = `${path}.matchLabels`;
      if (!isLabelKey(key)) return [wrong.value(field, key, qualifiedWords)];
      return typeof value === "string" && isLabelValue(value) ? [] : [wrong.value(field, value, labelValueWords)];
    }),
    ...listAt(selector, "matchExpressions").flatMap((each, index) =>
      requirementCauses(each, `${path}.matchExpressions[${index}]`),
    ),
  ];
}

function requirementCauses(requirement: Json, path: string): Cause[] {
  const [key, operator] = [textAt(requirement, "key") ?? "", textAt(requirement, "operator") ?? ""];
  const values = textsAt(requirement, "values");
  const causes = isLabelKey(key) ? [] : [wrong.value(`${path}.key`, key, qualifiedWords)];
  if (operator === "In" || operator === "NotIn") {
    if (values.length === 0)
      causes.push(wrong.missing(`${path}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
  } else if (operator === "Exists" || operator === "DoesNotExist") {
    if (values.length > 0)
      causes.push(
        wrong.forbidden(`${path}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"),
      );
  } else causes.push(wrong.value(`${path}.operator`, operator, "not a valid selector operator"));
  return causes;
}

/** The cell POD-SELECTOR of `kubectl get`. */
export function podSelectorCell(object: JsonObject): string {
  const selector = at(object, "spec", "podSelector");
  const wanted = objectAt(selector, "matchLabels");
  const labels = Object.keys(wanted).map((key) => `${key}=${textAt(wanted, key) ?? ""}`);
  const others = listAt(selector, "matchExpressions").map((each) => {
    const [key, values] = [textAt(each, "key") ?? "", textsAt(each, "values").join(",")];
    const operator = textAt(each, "operator");
    if (operator === "Exists") return key;
    return operator === "DoesNotExist" ? `!${key}` : `${key} ${operator === "In" ? "in" : "notin"} (${values})`;
  });
  return [...labels, ...others].toSorted().join(",") || "<none>";
}
