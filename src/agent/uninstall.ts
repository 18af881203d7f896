// Taking everything of ours off a node, once no pod hangs on it: the conflist first, the state file last, so that it can be repeated.

import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, Fault, isFault } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import { conflistFile, pluginType } from "../cni/conflist.ts";
import { pause } from "../base/pause.ts";
import { openSqliteStore } from "../ipam/sqlite-store.ts";
import { type Attachment, type AttachmentId, attachmentKey, isWired, type Store } from "../ipam/store.ts";
import { applyAll } from "../kernel/apply.ts";
import { type Kernel, type Link, type Op, routeProtocol } from "../kernel/contract.ts";
import type { AgentConfig } from "./config.ts";
import { answers } from "./connection.ts";
import { ownDropIns, syncDropIns } from "./drop-ins.ts";
import { unfinishedOf } from "./install.ts";
import { attachmentOfAlias, doomedGroup, doomOps, isHostLinkName, reapingGroup } from "./plan.ts";
import { keptPolicyName } from "./policy/kept.ts";
import { reapLinks } from "./reaper.ts";
import { releasesDirectory } from "./releases.ts";
import { statusSocket } from "./status.ts";

export interface UninstallOptions {
  config: Pick<AgentConfig, "paths">;
  kernel: Kernel;
  log: Log;
  /** Pods that are attached lose their network. */
  force: boolean;
  /** How long a plugin call may still be under way after the plugin's file is gone; tests pass their own. */
  callMs?: number;
}

/** A DEL without an agent tries for five seconds, then writes down what is to be released (native/shim.c). */
const callDefaultMs = 6_000;

/** State file, its log and index, and what was set aside of them. */
const stateFile = "fairlead.db";
/** Pods named in one message; the rest is counted. */
const podsShownMax = 10;

/**
 * Gives what was removed, a line for each kind of thing; nothing where nothing was there. Settings of the node (forwarding) stay:
 * what they were before is not known, and other plugins want them so.
 * @throws Fault "io-failure" where an agent runs, "pods-attached" where pods hang on us and `force` is false: nothing is changed
 *   then; "cleanup-incomplete" where something could not be removed: all the rest was
 */
export async function uninstall(options: UninstallOptions): Promise<string[]> {
  const { config, kernel, log, force, callMs = callDefaultMs } = options;
  const { paths } = config;
  if (await answers(paths.socket)) {
    throw new Fault("io-failure", `an agent answers on ${paths.socket} and would put everything back; stop it first`);
  }
  const store = openState(join(paths.state, stateFile));
  try {
    const links = (await kernel.node.links()).filter(isInUse);
    if (!force) refuseAttached(links, known(store), kernel);
    const removed: string[] = [];
    const failed: string[] = [];
    const step = async (what: string, remove: () => Promise<number> | number): Promise<void> => {
      try {
        const count = await remove();
        if (count > 0) removed.push(count === 1 ? what : `${what}: ${count}`);
      } catch (error) {
        failed.push(`${what}: ${describe(error)}`);
      }
    };
    await step("network configuration", () => removePlaced(join(paths.cniConf, conflistFile)));
    await step("plugin", () => removePlaced(join(paths.cniBin, pluginType)));
    await step("links", () => removeLinks(links, kernel, log));
    await step("routes", () => removeRoutes(kernel));
    await step("rules", () => removeRules(kernel));
    await step("source guard", () => removeGuard(kernel));
    await step("masquerade", () => removeJudging(kernel));
    await step("files for the host's daemons", () => removeDropIns(paths.etc));
    // Without the plugin no call begins; one that had begun must have written its release before those go.
    if (removed.some((what) => what === "plugin")) await pause(callMs, new AbortController().signal);
    await step("sockets and releases", () =>
      removeFiles([paths.socket, statusSocket(paths.socket), releasesDirectory(paths.socket)]),
    );
    // What follows is the proof that pods were attached: gone only when all else is.
    if (failed.length === 0) await step("state files", () => removeFiles(stateFiles(paths.state)));
    if (failed.length > 0) throw new Fault("cleanup-incomplete", `not all is removed: ${failed.join("; ")}`);
    return removed;
  } finally {
    store?.close();
  }
}

/** The state, held so that no agent begins meanwhile; undefined where there is none, or none that can be read. */
function openState(file: string): Store | undefined {
  if (!existsSync(file)) return undefined;
  try {
    return openSqliteStore(file);
  } catch (error) {
    if (isFault(error, "store-failed") && error.data["damaged"] === true) return undefined;
    throw error;
  }
}

function isInUse({ kind, name, group }: Link): boolean {
  return kind === "veth" && isHostLinkName(name) && group !== doomedGroup && group !== reapingGroup;
}

function known(store: Store | undefined): Attachment[] {
  return store?.read().attachments.map(({ attachment }) => attachment) ?? [];
}

function isNetns(path: string, kernel: Kernel): boolean {
  try {
    kernel.openNetns(path).close();
    return true;
  } catch (error) {
    if (isFault(error, "netns-missing")) return false;
    throw error;
  }
}

/** Who is attached: links in use tell of their own, and the state of addresses on other plugins' interfaces whose namespace still is there. */
function refuseAttached(links: readonly Link[], attachments: readonly Attachment[], kernel: Kernel): void {
  const lent = attachments.filter((attachment) => !isWired(attachment) && isNetns(attachment.netnsPath, kernel));
  const names = [
    ...links.map(({ index, name, alias }) => {
      const id = attachments.find(({ wire }) => wire?.hostIndex === index) ?? attachmentOfAlias(alias);
      return id === undefined ? name : nameOf(id);
    }),
    ...lent.map(nameOf),
  ];
  if (names.length === 0) return;
  const shown = names.slice(0, podsShownMax).join(", ");
  const more = names.length > podsShownMax ? ` and ${names.length - podsShownMax} more` : "";
  throw new Fault(
    "pods-attached",
    `${names.length} attached here would lose their network: ${shown}${more}; delete those pods first, or say --force`,
  );
}

/** As people know it, or else as the runtime does. */
function nameOf(attachment: AttachmentId & Pick<Attachment, "pod">): string {
  const { pod } = attachment;
  return pod === undefined ? attachmentKey(attachment) : `${pod.namespace}/${pod.name}`;
}

/** A file that is placed by rename, and what killed agents left of it. */
async function removePlaced(file: string): Promise<number> {
  return removeFiles([file, ...(await unfinishedOf(file))]);
}

function removeFiles(files: readonly string[]): number {
  const there = files.filter((file) => existsSync(file));
  for (const file of there) rmSync(file, { recursive: true, force: true });
  return there.length;
}

function stateFiles(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .filter(
      (name) =>
        name.includes(keptPolicyName) ||
        name === stateFile ||
        name.startsWith(`${stateFile}-`) ||
        name.startsWith(`${stateFile}.`),
    )
    .map((name) => join(directory, name));
}

/** Those in use are doomed as by a DEL; then all that are doomed go. */
async function removeLinks(inUse: readonly Link[], kernel: Kernel, log: Log): Promise<number> {
  const before = (await kernel.node.links()).length;
  await applyAll(
    kernel.node,
    inUse.flatMap(({ index }) => doomOps(index)),
  );
  await reapLinks(kernel, log);
  return before - (await kernel.node.links()).length;
}

async function removeRoutes(kernel: Kernel): Promise<number> {
  const routes = (await kernel.node.routes()).filter(({ protocol }) => protocol === routeProtocol);
  await applyAll(
    kernel.node,
    routes.map((route): Op => ({ op: "route.remove", route })),
  );
  return routes.length;
}

async function removeRules(kernel: Kernel): Promise<number> {
  const rules = (await kernel.node.rules()).filter(({ protocol }) => protocol === routeProtocol);
  await applyAll(
    kernel.node,
    rules.map((rule): Op => ({ op: "rule.remove", rule })),
  );
  return rules.length;
}

async function removeGuard({ guard }: Kernel): Promise<number> {
  const held = await guard.list();
  await guard.prune();
  return held === undefined ? 0 : 1;
}

/** Whether there were such tables is not asked: they go with the guard. */
async function removeJudging({ masquerade, policy }: Kernel): Promise<number> {
  await masquerade.prune();
  await policy.prune();
  return 0;
}

async function removeDropIns(etc: string): Promise<number> {
  const held = ownDropIns(etc);
  await syncDropIns(etc, false);
  return held.length;
}
