// The masquerade's table as `nft list ruleset` prints it, held against what a node must have where masquerade is on.

import { compareTexts, type Difference, differs } from "./difference.ts";
import type { AuditedNode } from "./node.ts";
import { elements, linesOf, tablesIn } from "./ruleset.ts";

export const masqueradeTable = "inet fairlead-masq";

/** Every rule by its words; sets without what their names say of their content. */
const wantedChains = (families: readonly (4 | 6)[]): string => {
  const ip = { 4: "ip", 6: "ip6" };
  return [
    `comment "Fairlead masquerade"`,
    ...families.flatMap((family) =>
      ["pods", "kept"].flatMap((set) => [`set ${set}${family} {`, `type ipv${family}_addr`, "flags constant,interval"]),
    ),
    "chain postrouting {",
    "type nat hook postrouting priority srcnat + 10; policy accept;",
    ...families.map((family) => `${ip[family]} saddr @pods${family} jump leaving`),
    "chain leaving {",
    "fib daddr type local return",
    ...families.map((family) => `${ip[family]} daddr @kept${family} return`),
    "masquerade fully-random",
  ].join("\n");
};

/** `ruleset`: all tables of the node. */
export function compareMasquerade({ masquerade }: AuditedNode, ruleset: string): Difference[] {
  const body = tablesIn(ruleset).get(masqueradeTable);
  if (masquerade === undefined) {
    return body === undefined ? [] : [differs(`nft table ${masqueradeTable} is there, and nobody needs it`)];
  }
  if (body === undefined) return [differs(`nft table ${masqueradeTable} is missing`)];
  const text = body.replaceAll(/((?:pods|kept)[46])_[0-9a-f]{10}/g, "$1");
  const families = ([4, 6] as const).filter((family) => masquerade.pods.some((range) => isOf(range, family)));
  const words = {
    missing: (line: string) => `the masquerade lacks "${line}"`,
    extra: (line: string) => `the masquerade has "${line}", which nobody needs`,
  };
  const wanted = (["pods", "kept"] as const).flatMap((set) =>
    families.flatMap((family) =>
      masquerade[set].filter((range) => isOf(range, family)).map((range) => `${range} in ${set}${family}`),
    ),
  );
  const held = [...text.matchAll(/^\tset (\S+) \{\n([\s\S]*?)^\t\}/gm)].flatMap(([, set = "", lines = ""]) =>
    [...lines.matchAll(elements)].flatMap(([, list = ""]) => list.split(",").map((one) => `${one.trim()} in ${set}`)),
  );
  return [
    ...compareTexts(linesOf(wantedChains(families)), linesOf(text.replaceAll(elements, "")), words),
    ...compareTexts(wanted, held, words),
  ];
}

function isOf(range: string, family: 4 | 6): boolean {
  return range.includes(":") === (family === 6);
}
