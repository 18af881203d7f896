// Policy of a node without Kubernetes: the objects of a directory, followed; a directory that cannot be read leaves what was read last.

import { statSync } from "node:fs";
import { describe, Fault } from "../../base/fault.ts";
import type { Log } from "../../base/log.ts";
import { type Loop, type LoopPass, startLoop } from "../../base/loop.ts";
import type { Pod } from "../../kube/core-objects.ts";
import { type FileObjects, objectFilesBelow, readObjectFiles } from "../../kube/files.ts";
import { createAddressTally } from "../../net/address-tally.ts";
import { type Ip, parseIp } from "../../net/ip.ts";
import type { PolicyKeys } from "../../policy/keys.ts";
import { allMembers, indexMembers } from "../../policy/members.ts";
import type { Memberships, PolicyObjects } from "../../policy/model.ts";
import { policyPodOf } from "../../policy/policy-pod.ts";
import { readObjects, type ReadObjects } from "../../policy/read-objects.ts";
import { createDirectoryWatch } from "../directory-watch.ts";
import type { FindPod } from "./pod-policy.ts";
import type { PolicySource } from "./sources.ts";

/** Files of the directory, and their bytes together: they are read at once, while nothing else goes on. */
const filesMax = 1_000;
const bytesMax = 16 * 1024 * 1024;
/** How often it is looked at, whatever the kernel tells of it. */
const rescanMs = 10_000;
/** Lets a change of many files end. */
const settleMs = 200;

export interface DirectoryOptions {
  directory: string;
  nodeName: string;
  keys: Pick<PolicyKeys, "allowDns">;
  /** What an earlier agent has left: a directory without a file is then no directory that says nothing. */
  kept: { objects: PolicyObjects } | undefined;
  log: Log;
  signal: AbortSignal;
  onPass: (pass: LoopPass) => void;
  onChange: () => void;
}

export interface DirectorySource extends PolicySource {
  /** Reads it where it has changed. */
  loop: Loop;
  /** The Pod that a file has, as if it were bound to this node. */
  findPod: FindPod;
}

/** Everything that one state of the directory says. */
interface Taken {
  files: FileObjects;
  read: ReadObjects;
  /** Pods elsewhere; those of this node are members by their attachments. */
  memberships: Memberships;
  pods: ReadonlyMap<string, Pod>;
  listed: readonly Ip[];
}

/** Starts to follow; nothing is awaited. */
export function followDirectory(options: DirectoryOptions): DirectorySource {
  const { directory, nodeName, keys, kept, log, signal, onPass, onChange } = options;
  let taken: Taken | undefined;
  const listed = createAddressTally();
  let mark: string | undefined;
  let broken: string | undefined;
  const watching = createDirectoryWatch({ directory, recursive: true, log, signal, onChange: () => loop.trigger() });

  const look = (): void => {
    const before = markOf(directory);
    if (before === mark && broken === undefined) return;
    const files = readObjectFiles([directory]);
    if (markOf(directory) !== before) throw new Fault("bad-config", `${directory} has changed while it was read`);
    if (before === "" && (mark ?? saidBy(kept)) !== "") {
      throw new Fault("bad-config", `${directory} is empty now, which would open every pod; leave a file in it`);
    }
    const next = takenOf(files, nodeName, keys);
    listed.add(next.listed);
    listed.remove(taken?.listed ?? []);
    taken = next;
    mark = before;
    onChange();
  };
  const sync = async (): Promise<void> => {
    try {
      watching.renew();
      look();
      broken = undefined;
    } catch (error) {
      const why = describe(error);
      if (why !== broken) log.error({ directory, error: why }, "policies are as they were read last");
      broken = why;
      throw error;
    }
  };
  const loop = startLoop({
    name: "policy-directory",
    minMs: settleMs,
    retryMs: 500,
    retryMaxMs: rescanMs,
    maxMs: rescanMs,
    sync,
    signal,
    onPass,
  });
  const nothing = {
    namespaces: [],
    serviceAccounts: [],
    networkPolicies: [],
    groups: [],
    bindings: [],
    groupPolicies: [],
  };
  const empty = readObjects(nothing, keys);

  return {
    loop,
    findPod: ({ namespace, name }) => taken?.pods.get(`${namespace}/${name}`),
    objects: () => taken?.files.policy ?? nothing,
    read: () => taken?.read ?? empty,
    memberships: () => taken?.memberships ?? new Map(),
    listed,
    mayBeAsked: true,
    known: () => taken !== undefined,
    failing: () => broken !== undefined,
    missing: () => `policies of ${directory}: ${broken ?? "not read yet"}`,
    heardOf: async () => {},
    caches: () => [],
    done: loop.done,
  };
}

/** Empty where nobody had said anything. */
function saidBy(kept: DirectoryOptions["kept"]): string {
  if (kept === undefined) return "";
  const { networkPolicies, groups, bindings, groupPolicies } = kept.objects;
  return [networkPolicies, groups, bindings, groupPolicies].some(({ length }) => length > 0) ? "policies" : "";
}

/** Which files there are and which versions of them: nothing of a file is read. @throws Fault "not-found", "bad-config" where there is too much */
function markOf(directory: string): string {
  const files = objectFilesBelow(directory);
  if (files.length > filesMax) throw new Fault("bad-config", `${directory} has more than ${filesMax} files`);
  const seen = files.map((file) => ({ file, ...statOf(file) }));
  const bytes = seen.reduce((sum, { size }) => sum + size, 0);
  if (bytes > bytesMax) throw new Fault("bad-config", `the files of ${directory} have more than ${bytesMax} bytes`);
  return seen.map(({ file, ino, size, mtimeMs }) => `${file} ${ino} ${size} ${mtimeMs}`).join("\n");
}

function statOf(file: string): { ino: number; size: number; mtimeMs: number } {
  const { ino, size, mtimeMs } = statSync(file);
  return { ino, size, mtimeMs };
}

function takenOf(files: FileObjects, nodeName: string, keys: Pick<PolicyKeys, "allowDns">): Taken {
  const judging = readObjects(files.policy, keys);
  const read = { ...judging, problems: [...judging.problems, ...files.problems] };
  const addressed = files.pods.map((pod) => ({ pod, addresses: addressesOf(pod) }));
  const elsewhere = addressed.filter(({ pod }) => pod.spec.nodeName !== nodeName);
  const index = indexMembers(
    elsewhere.flatMap(({ pod, addresses }) => policyPodOf(pod, addresses) ?? []),
    read,
  );
  const own = (pod: Pod): Pod => ({ ...pod, spec: { ...pod.spec, nodeName } });
  return {
    files,
    read,
    memberships: allMembers(index, read),
    pods: new Map(files.pods.map((pod) => [`${pod.metadata.namespace}/${pod.metadata.name}`, own(pod)])),
    listed: addressed.flatMap(({ addresses }) => addresses),
  };
}

function addressesOf({ status }: Pod): Ip[] {
  return (status.podIPs ?? []).flatMap(({ ip }) => parseIp(ip) ?? []);
}
