// Who is attached: what the runtime knows, what the agent says and what its state file holds, against each other.

import { isDeepStrictEqual } from "node:util";
import { type Difference, differs } from "./difference.ts";
import type { Living } from "./living.ts";
import type { Seen } from "./look.ts";
import type { AuditedNode } from "./node.ts";

/** An attachment as the agent tells it, in words or by its file. */
interface Told {
  state: string;
  living: Living;
}

/** What the agent says, or where it does not run what its file says. */
function toldBy({ agent, journal }: Pick<Seen, "agent" | "journal">): readonly Told[] {
  if (typeof agent === "object") return agent.attachments;
  return typeof journal === "object" ? journal.attachments : [];
}

/** Every attachment that somebody believes to live, each once. The agent knows more of one than a result of ADD tells. */
export function livingOn({ known = [] }: Pick<AuditedNode, "known">, seen: Pick<Seen, "agent" | "journal">): Living[] {
  const told = toldBy(seen).map(({ living }) => placed(living, known));
  const names = new Set(told.map(({ name }) => name));
  return [...told, ...known.filter(({ name }) => !names.has(name))];
}

/** An agent that has read its attachments back from their links knows no namespace: the runtime does. */
function placed(told: Living, known: readonly Living[]): Living {
  const other = known.find(({ name }) => name === told.name)?.link;
  if (typeof told.link !== "object" || told.link.netnsPath !== "" || typeof other !== "object") return told;
  return { ...told, link: { ...told.link, netnsPath: other.netnsPath } };
}

export function compareLists(node: AuditedNode, seen: Seen): Difference[] {
  return [...sourceDifferences(node, seen), ...callDifferences(seen), ...knownDifferences(node, seen)];
}

/** The agent's word against its file: it writes down all that it knows before it answers. */
function sourceDifferences({ agent: state }: AuditedNode, { agent, journal }: Seen): Difference[] {
  const mayPass = state === "runs";
  const differences: Difference[] = [];
  if (typeof journal === "string") differences.push({ what: `the state file cannot be read: ${journal}`, mayPass });
  else differences.push(...journal.unreadable.map((what) => differs(`in the state file: ${what}`)));
  if (typeof agent === "string") differences.push(differs(`the agent does not answer: ${agent}`));
  if (typeof journal !== "object" || typeof agent !== "object") return differences;
  const spoken = byName(agent.attachments);
  const written = byName(journal.attachments);
  for (const name of new Set([...spoken.keys(), ...written.keys()])) {
    const [said, file] = [spoken.get(name), written.get(name)];
    if (isDeepStrictEqual(said, file)) continue;
    const how =
      said === undefined
        ? "stands in the state file, but the agent does not know it"
        : file === undefined
          ? "is known to the agent, but not written in its state file"
          : "is not the same in the agent's list as in its state file";
    differences.push({ what: `attachment ${name} ${how}`, mayPass });
  }
  return differences;
}

function byName(list: readonly Told[]): Map<string, Told> {
  return new Map(list.map(({ state, living }) => [living.name, { state, living }]));
}

function callDifferences({ agent }: Seen): Difference[] {
  if (typeof agent !== "object" || agent.calls === 0) return [];
  return [{ what: `the agent still works on ${agent.calls} calls`, mayPass: true }];
}

/** The runtime's list against the agent's. A pod whose DEL waits for the next agent is the agent's alone for that time. */
function knownDifferences({ known, agent }: AuditedNode, seen: Seen): Difference[] {
  const told = toldBy(seen);
  const mayPass = agent === "runs";
  // After a kill the next start takes back what was only planned.
  const planned =
    agent === "killed"
      ? []
      : told
          .filter(({ state }) => state !== "ready")
          .map(({ state, living }) => ({ what: `attachment ${living.name} is still ${state}`, mayPass }));
  if (known === undefined) return planned;
  const names = new Set(known.map(({ name }) => name));
  const excused = new Set(agent === "runs" ? [] : seen.files.flatMap(({ releases }) => releases ?? []));
  const unknown = told.filter(
    ({ state, living: { name } }) =>
      !names.has(name) && !excused.has(name) && !(agent === "killed" && state !== "ready"),
  );
  const held = new Map(told.map(({ living }) => [living.name, living]));
  return [
    ...planned,
    ...unknown.map(({ living: { name } }) => ({
      what: `the agent holds attachment ${name}, which no runtime knows`,
      mayPass,
    })),
    ...known.flatMap((one) => {
      const other = held.get(one.name);
      return other === undefined
        ? [differs(`the runtime knows attachment ${one.name}, the agent does not`)]
        : unlike(one, other).map((what) => differs(`attachment ${one.name}: ${what}`));
    }),
  ];
}

/** What the runtime was told in another way than the agent has it now. */
function unlike(known: Living, told: Living): string[] {
  const words: string[] = [];
  const compare = (thing: string, ours: string | number | undefined, theirs: string | number | undefined): void => {
    if (ours !== undefined && theirs !== undefined && ours !== theirs)
      words.push(`the runtime knows ${thing} as ${ours}, the agent as ${theirs}`);
  };
  compare("its addresses", known.addresses.toSorted().join(", "), told.addresses.toSorted().join(", "));
  if (known.link === "untold") return words;
  if (typeof known.link !== "object" || typeof told.link !== "object") {
    if (typeof known.link !== typeof told.link) {
      const [has, lacks] = typeof known.link === "object" ? ["runtime", "agent"] : ["agent", "runtime"];
      words.push(`the ${has} knows a link, the ${lacks} does not`);
    }
    return words;
  }
  compare("its namespace", known.link.netnsPath, told.link.netnsPath === "" ? undefined : told.link.netnsPath);
  compare("its MTU", known.link.mtu, told.link.mtu);
  for (const end of ["host", "pod"] as const) {
    compare(`its ${end} link`, known.link[end].name, told.link[end].name);
    compare(`the hardware address of its ${end} link`, known.link[end].mac, told.link[end].mac);
  }
  return words;
}
