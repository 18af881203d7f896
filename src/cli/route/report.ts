// What `fairlead route` says: both directions in all families of two places, as data and as lines. Pure.

import { Fault } from "../../base/fault.ts";
import { formatTable } from "../../base/table.ts";
import { ipFamily } from "../../net/ip.ts";
import type { Place, Remark } from "./place.ts";
import { commonFamilies, isSame, type Walk, type Way, wayBetween } from "./way.ts";

/** The shape of `-o json`; it only ever gains keys. */
export interface RouteReport {
  kind: "Route";
  from: { name: string; addresses: readonly string[] };
  to: { name: string; addresses: readonly string[] };
  /** "no-way" where any way is; "unknown" where one leaves the cluster. */
  verdict: Way["verdict"];
  ways: Way[];
  /** Of the two places; each way repeats those that concern it. */
  problems: Remark[];
  notes: string[];
}

/** Looks for all ways between two places. @throws Fault "unsupported-value" where neither is in the cluster */
export function reportRoute(from: Place, to: Place, walk: Walk): RouteReport {
  if (isOutside(from) && isOutside(to)) {
    throw new Fault(
      "unsupported-value",
      `neither ${from.title} nor ${to.title} is in this cluster; name a pod or node`,
    );
  }
  // Nobody answers from an address that nobody has, and nothing comes back from oneself.
  const answers = !isSame(from, to) && !(to.kind === "address" && to.problems.length > 0);
  const ways = commonFamilies(from, to).flatMap(([source, target]) => [
    wayBetween({ from, to, direction: "there" }, [source, target], walk),
    ...(answers ? [wayBetween({ from: to, to: from, direction: "back" }, [target, source], walk)] : []),
  ]);
  const problems = [...from.problems, ...to.problems, ...(ways.length === 0 ? strangers(from, to) : [])];
  return {
    kind: "Route",
    from: { name: from.title, addresses: from.addresses },
    to: { name: to.title, addresses: to.addresses },
    verdict: worst(ways, problems),
    ways,
    problems,
    notes: unique([...from.notes, ...to.notes, ...oneSided(from, to), ...ways.flatMap(({ notes }) => notes)]),
  };
}

const isOutside = (place: Place): boolean => place.kind === "address" && place.block === undefined;

function worst(ways: readonly Way[], problems: readonly Remark[]): Way["verdict"] {
  if (problems.length > 0 || ways.some(({ verdict }) => verdict === "no-way")) return "no-way";
  return ways.some(({ verdict }) => verdict === "unknown") ? "unknown" : "way";
}

const familiesOf = ({ addresses }: Place): string[] => unique(addresses.map((address) => `IPv${ipFamily(address)}`));

/** Two places of different families; one without any address has said so itself. */
function strangers(from: Place, to: Place): Remark[] {
  if (from.addresses.length === 0 || to.addresses.length === 0) return [];
  const says = `${from.title} has ${familiesOf(from).join(" and ")}, ${to.title} has ${familiesOf(to).join(" and ")}: no family is common`;
  return [{ says, cure: "name addresses of one family; pods have the families that their node's blocks have" }];
}

function oneSided(from: Place, to: Place): string[] {
  if (commonFamilies(from, to).length === 0 || from.byAddress === true || to.byAddress === true) return [];
  const [left, right] = [familiesOf(from), familiesOf(to)];
  return [
    ...left.filter((family) => !right.includes(family)).map((family) => `${family}: ${to.title} has no such address`),
    ...right.filter((family) => !left.includes(family)).map((family) => `${family}: ${from.title} has no such address`),
  ];
}

const unique = <T>(all: readonly T[]): T[] => [...new Set(all)];

const endings: Record<Way["verdict"], string> = {
  way: "there is a way",
  "no-way": "there is NO way",
  unknown: "as far as this cluster goes there is a way; what is outside of it has no objects here",
};

/** The lines for people: each way a table, what is wrong below it, one sentence at the end. */
export function routeText(report: RouteReport): string {
  const { from, to, ways, notes, verdict } = report;
  const lines = [`${from.name} -> ${to.name}`];
  for (const way of ways) {
    lines.push("", ...(isMirrored(way, ways) ? [`${heading(way)}: the same hops the other way round`] : wayLines(way)));
  }
  const shown = new Set(ways.flatMap(({ problems }) => problems.map(({ says }) => says)));
  const further = report.problems.filter(({ says }) => !shown.has(says));
  if (further.length > 0) lines.push("", ...further.flatMap(remarkLines));
  if (notes.length > 0) lines.push("", ...notes.map((note) => `note: ${note}`));
  lines.push("", endings[verdict]);
  return lines.join("\n");
}

const heading = ({ family, direction, from, to }: Way): string =>
  `IPv${family} ${direction === "back" ? "back " : ""}${from} -> ${to}`;

function wayLines(way: Way): string[] {
  const rows = way.hops.map(({ at, does, by }, index) => [`  ${index + 1}`, at, does, by]);
  const table = rows.length === 0 ? [] : [formatTable(["  #", "WHERE", "WHAT", "BY"], rows)];
  return [heading(way), ...table, ...way.problems.flatMap(remarkLines)];
}

const remarkLines = ({ says, cure }: Remark): string[] => [`  BAD: ${says}`, `       cure: ${cure}`];

/** The way back of two pods on one node: nothing in it that the way there does not show. */
function isMirrored(way: Way, ways: readonly Way[]): boolean {
  if (way.direction !== "back" || way.problems.length > 0) return false;
  const there = ways.find(({ family, direction }) => family === way.family && direction === "there");
  const stops = (one: Way): string[] => unique(one.hops.map(({ at }) => at));
  return (
    there !== undefined &&
    there.hops.length === way.hops.length &&
    stops(there).length <= 3 &&
    stops(there).toReversed().join() === stops(way).join()
  );
}
