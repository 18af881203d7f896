// Who may import whom: the arrows between rooms, and no file that reaches itself.

import { posix } from "node:path";
import { type Finding, isTest } from "./finding.ts";
import { type Import, type Source, importsOf } from "./source.ts";

/** Rooms of src/ by level: a room imports lower levels and itself, never its own level. */
const levels: readonly (readonly string[])[] = [
  ["base"],
  ["net"],
  ["cni", "ipam", "policy"],
  ["kernel", "cloud", "kube"],
  ["agent", "controller", "cli"],
];

const levelOf = (room: string): number => levels.findIndex((rooms) => rooms.includes(room));

/** What the rooms beside the levels may import. */
const beside: Readonly<Record<string, readonly string[]>> = {
  main: ["base", "net", "agent", "controller", "cli", "lab"],
  lab: ["base", "net"],
  // The figures of a real cluster are taken on the one that tests make; what a change of policy costs the kernel, at its door.
  bench: ["base", "net", "policy", "kernel", "lab", "test"],
  tools: ["base", "kube"],
};

/** The room of a file: the folder under src/, "main" for src/main.ts, else the top folder. */
function roomOf(path: string): string {
  const [top = "", second = "", ...rest] = path.split("/");
  if (top !== "src") return top;
  return rest.length === 0 ? second.replace(/\.ts$/, "") : second;
}

/** Says what is wrong with one import; undefined where nothing is. */
function arrowFault(from: string, to: string, typeOnly: boolean): string | undefined {
  if (isTest(from)) return undefined;
  const [room, other] = [roomOf(from), roomOf(to)];
  const harness = other === "test" && beside[room]?.includes(other) === true && !to.endsWith(".test.ts");
  if (isTest(to) && !harness) return `${to} is for tests; move what is needed out of it`;
  if (room === other) return undefined;
  const named = beside[room];
  if (named !== undefined)
    return named.includes(other) ? undefined : `${room} may import only ${named.join(", ")}; not ${other}`;
  const [level, otherLevel] = [levelOf(room), levelOf(other)];
  if (level === -1)
    return `${room} is no room; put the file into one, or give the room its level in tools/tidy/arrows.ts`;
  if (room === "policy" && other === "kube" && typeOnly) return undefined;
  if (otherLevel !== -1 && otherLevel < level) return undefined;
  return `${room} may import only the rooms below it (${levels.slice(0, level).flat().join(", ") || "none"}); not ${other}`;
}

/** The path from the top that a relative import names. */
const resolve = (from: string, specifier: string): string => posix.join(posix.dirname(from), specifier);

const isOurs = ({ specifier }: Import): boolean => specifier.startsWith(".") && specifier.endsWith(".ts");

/** Imports against the arrows, one finding each. */
export function arrowFindings(sources: readonly Source[]): Finding[] {
  return sources.flatMap((source) =>
    importsOf(source)
      .filter(isOurs)
      .flatMap(({ specifier, typeOnly, line }) => {
        const advice = arrowFault(source.path, resolve(source.path, specifier), typeOnly);
        return advice === undefined ? [] : [{ path: source.path, line, rule: "arrows", advice }];
      }),
  );
}

/** Each circle of imports between files, named once, at the import that closes it. Type imports count: they show the same tangle. */
export function cycleFindings(sources: readonly Source[]): Finding[] {
  const imports = new Map(sources.map((source) => [source.path, importsOf(source).filter(isOurs)]));
  const findings: Finding[] = [];
  const done = new Set<string>();
  const trail: string[] = [];

  const visit = (path: string): void => {
    trail.push(path);
    for (const { specifier, line } of imports.get(path) ?? []) {
      const next = resolve(path, specifier);
      const seen = trail.indexOf(next);
      if (seen !== -1) {
        const circle = [...trail.slice(seen), next].join(" -> ");
        findings.push({ path, line, rule: "cycle", advice: `${circle}; move what both need into a file of its own` });
      } else if (!done.has(next)) visit(next);
    }
    trail.pop();
    done.add(path);
  };

  for (const path of [...imports.keys()].sort()) if (!done.has(path)) visit(path);
  return findings;
}
