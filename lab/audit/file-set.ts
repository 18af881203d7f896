// The files that must be in the agent's directories and the modes they must have; whatever else lies there is too much.

import { basename, dirname, join } from "node:path";
import { statusSocketOf } from "./agent-view.ts";
import { type Difference, differs } from "./difference.ts";
import { type AgentPaths, agentDirectories, releasesDirectoryOf, type SeenFile } from "./files.ts";
import type { AuditedNode } from "./node.ts";
import { stateFile } from "./state-file.ts";

interface WantedFile {
  path: string;
  kind: SeenFile["kind"];
  /** Absent: the runtime's own directories may have any. */
  mode?: number;
  /** "either": it comes and goes. */
  there: boolean | "either";
}

export function compareFiles(node: AuditedNode, files: readonly SeenFile[]): Difference[] {
  const wanted = wantedFiles(node);
  const byPath = new Map(files.map((file) => [file.path, file]));
  const named = new Set(wanted.map(({ path }) => path));
  const foreign = new Set([...(node.foreignFiles ?? []), ...agentDirectories(node.paths)]);
  return [
    ...wanted.flatMap((one) => fileDifferences(one, byPath.get(one.path))),
    ...files
      .filter(({ path }) => !named.has(path) && !foreign.has(path))
      .flatMap((file) => strayDifferences(node, file)),
  ];
}

function wantedFiles({ paths, agent, inCluster }: AuditedNode): WantedFile[] {
  const root = { mode: 0o700, kind: "directory", there: true } as const;
  // A killed agent leaves what it had; one that stops in order takes its sockets and its log along.
  const withAgent = agent === "runs" ? true : agent === "killed" ? "either" : false;
  const socket = { mode: 0o600, kind: "socket", there: withAgent } as const;
  const database = join(paths.state, stateFile);
  return [
    { ...root, path: dirname(paths.socket) },
    { ...root, path: releasesDirectoryOf(paths) },
    { ...root, path: paths.state },
    { path: paths.cniBin, kind: "directory", there: true },
    { path: paths.cniConf, kind: "directory", there: true },
    { ...socket, path: paths.socket },
    { ...socket, path: statusSocketOf(paths.socket) },
    { path: database, kind: "file", mode: 0o600, there: true },
    { path: `${database}-wal`, kind: "file", mode: 0o600, there: agent === "stopped" ? false : "either" },
    // What policy was, for an agent that starts while nobody tells it.
    ...(inCluster === true
      ? [{ path: join(paths.state, "policy.json"), kind: "file", mode: 0o600, there: "either" } as const]
      : []),
    { path: join(paths.cniBin, "fairlead-cni"), kind: "file", mode: 0o755, there: true },
    { path: join(paths.cniConf, "10-fairlead.conflist"), kind: "file", mode: 0o644, there: true },
  ];
}

function fileDifferences({ path, kind, mode, there }: WantedFile, held: SeenFile | undefined): Difference[] {
  if (held === undefined) return there === true ? [differs(`${kind} ${path} is missing`)] : [];
  if (there === false) return [differs(`${held.kind} ${path} is there, though no agent runs`)];
  if (held.kind !== kind) return [differs(`${path} is a ${held.kind}, not a ${kind}`)];
  if (mode === undefined || held.mode === mode) return [];
  return [differs(`${kind} ${path} has mode ${octal(held.mode)}, not ${octal(mode)}`)];
}

/** What nobody named: release files for an agent that is to come are all that may be there. */
function strayDifferences({ paths, agent }: AuditedNode, file: SeenFile): Difference[] {
  const { path, kind, mode, releases } = file;
  if (agent === "killed" && isUnfinished(paths, file)) return []; // the next agent removes it
  if (!isReleaseFile(paths, file)) return [differs(`${kind} ${path} is there, and nobody needs it`)];
  if (mode !== 0o600) return [differs(`release file ${path} has mode ${octal(mode)}, not 0600`)];
  if (releases === undefined) return [{ what: `release file ${path} cannot be read`, mayPass: agent === "runs" }];
  if (agent !== "runs") return [];
  return [{ what: `release file ${path} for ${releases} is not applied`, mayPass: true }];
}

/** What an agent was about to rename over a file of its own. */
function isUnfinished({ state, cniBin, cniConf }: AgentPaths, { path, kind }: SeenFile): boolean {
  return (
    kind === "file" &&
    [state, cniBin, cniConf].includes(dirname(path)) &&
    /^\.(?:policy\.json|fairlead-cni|10-fairlead\.conflist)\.[0-9a-f]{12}$/.test(basename(path))
  );
}

function isReleaseFile(paths: AgentPaths, { path, kind }: SeenFile): boolean {
  const name = basename(path);
  return (
    kind === "file" &&
    dirname(path) === releasesDirectoryOf(paths) &&
    name.endsWith(".release") &&
    !name.startsWith(".")
  );
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}
