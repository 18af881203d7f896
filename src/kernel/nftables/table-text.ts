// A table as nft text: for people, and for tests that let nft itself load it.

import { type FieldName, type KeyValues, constantElements, fields } from "./fields.ts";
import type { Chain, ConstantNamedSet, Effect, MasqueradeStatement, Statement, Table, Verdict } from "./ruleset.ts";

/** The table as `nft -f` reads it. Chains come after everything that they name: nft has no need of it, people have. */
export function tableText({ name, comment, counters, sets, constants = [], maps = [], chains }: Table): string {
  const blocks = [
    [`comment "${comment}"`],
    ...counters.map((counter) => [`counter ${counter} {`, "}"]),
    ...sets.map(({ name: set, key, elements = [], byPackets }) => {
      const lines = setLines(
        `set ${set}`,
        typeText(key),
        byPackets ? ["dynamic", "timeout"] : [],
        elements.map(keyText),
      );
      if (byPackets === undefined) return lines;
      const { sizeMax, timeoutMs } = byPackets;
      return [...lines.slice(0, -1), `\tsize ${sizeMax}`, `\ttimeout ${timeoutMs / 1000}s`, ...lines.slice(-1)];
    }),
    ...constants.map(constantLines),
    ...maps.map(({ name: map, key, constant, counted, verdicts }) => {
      const elements = verdicts.map(([values, verdict]) => `${keyText(values)} : ${verdictText(verdict)}`);
      return setLines(`map ${map}`, `${typeText(key)} : verdict`, constant ? ["constant"] : [], elements, counted);
    }),
    ...chains.map((chain) => [`chain ${chain.name} {`, ...chainLines(chain).map((line) => `\t${line}`), "}"]),
  ];
  const body = blocks.map((lines) => lines.map((line) => `\t${line}\n`).join("")).join("\n");
  return `table inet ${name} {\n${body}}\n`;
}

function constantLines({ name, key, oneOf }: ConstantNamedSet): string[] {
  const { interval } = constantElements(fields[key], oneOf);
  return setLines(`set ${name}`, fields[key].typeName, ["constant", ...(interval ? ["interval"] : [])], oneOf);
}

function setLines(
  head: string,
  type: string,
  flags: readonly string[],
  elements: readonly string[],
  counted = false,
): string[] {
  const body = [
    `type ${type}`,
    ...(flags.length === 0 ? [] : [`flags ${flags.join(",")}`]),
    ...(counted ? ["counter"] : []),
    ...(elements.length === 0 ? [] : [`elements = { ${elements.join(", ")} }`]),
  ];
  return [`${head} {`, ...body.map((line) => `\t${line}`), "}"];
}

function keyText(values: KeyValues): string {
  return values.join(" . ");
}

function chainLines({ hook, rules }: Chain): string[] {
  const head =
    hook === undefined
      ? []
      : [`type ${hook.type ?? "filter"} hook ${hook.on} priority ${hook.priority}; policy accept;`];
  return [...head, ...rules.map((rule) => rule.map(statementText).join(" "))];
}

function statementText(statement: Statement): string {
  if ("inSet" in statement) return `${statement.match.join(" . ")} @${statement.inSet}`;
  if ("notInSet" in statement) return `${statement.match.join(" . ")} != @${statement.notInSet}`;
  if ("byMap" in statement) return `${statement.match.join(" . ")} vmap @${statement.byMap}`;
  if ("oneOf" in statement) return `${statement.match} { ${statement.oneOf.join(", ")} }`;
  if ("verdicts" in statement) {
    const pairs = Object.entries(statement.verdicts).map(([value, verdict]) => `${value} : ${verdictText(verdict)}`);
    return `${statement.match} vmap { ${pairs.join(", ")} }`;
  }
  if ("share" in statement) {
    const { of, inSet, perSecond, burst } = statement.share;
    return `update @${inSet} { ${of.join(" . ")} limit rate ${perSecond}/second burst ${burst} packets }`;
  }
  if ("icmp" in statement) {
    const protocol = statement.icmp === 4 ? "icmp" : "icmpv6";
    const code = statement.code === undefined ? "" : ` ${protocol} code ${statement.code}`;
    return `${protocol} type ${statement.type}${code}`;
  }
  if ("is" in statement || "has" in statement) {
    return `${statement.match} ${"is" in statement ? statement.is : statement.has}`;
  }
  if ("from" in statement) return `${statement.match} ${statement.from}-${statement.to}`;
  if ("among" in statement) return `${statement.match} & (${statement.among.join(" | ")}) != ${statement.isNot}`;
  if ("prefix" in statement) return `${statement.match} "${statement.prefix}*"`;
  if ("within" in statement) return `${statement.match} ${statement.within}`;
  return effectText(statement);
}

function effectText(statement: Effect): string {
  if ("random" in statement) return `numgen random mod ${statement.random.outOf} < ${statement.random.below}`;
  if ("masquerade" in statement) return masqueradeText(statement.masquerade);
  if ("count" in statement) return `counter name "${statement.count}"`;
  if ("tally" in statement) return "counter";
  if ("limit" in statement)
    return `limit rate ${statement.limit.perSecond}/second burst ${statement.limit.burst} packets`;
  if ("log" in statement) {
    const { prefix, group, snapLen } = statement.log;
    return `log prefix "${prefix}" group ${group} snaplen ${snapLen}`;
  }
  if ("reject" in statement) return `reject with ${statement.reject}`;
  return verdictText(statement);
}

/** A verdict as nft writes it, equal for equal ones. */
export function verdictText(verdict: Verdict): string {
  if ("jump" in verdict) return `jump ${verdict.jump}`;
  if ("goto" in verdict) return `goto ${verdict.goto}`;
  return verdict.verdict;
}

function masqueradeText({ ports, fullyRandom }: MasqueradeStatement): string {
  const to =
    ports === undefined ? "" : ` to :${ports.first === ports.last ? ports.first : `${ports.first}-${ports.last}`}`;
  return `masquerade${to}${fullyRandom ? " fully-random" : ""}`;
}

function typeText(key: readonly FieldName[]): string {
  return key.map((name) => fields[name].typeName).join(" . ");
}
