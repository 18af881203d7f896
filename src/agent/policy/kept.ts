// What of policy outlives the agent, in one file: the objects, memberships, pods and classes that it judged by last.

import { hash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { describe } from "../../base/fault.ts";
import type { Log } from "../../base/log.ts";
import type { Kind, KubeObject } from "../../kube/contract.ts";
import {
  namespaces,
  networkPolicies,
  securityGroupBindings,
  securityGroupPolicies,
  securityGroups,
  serviceAccounts,
} from "../../kube/policy-objects.ts";
import { ip } from "../../net/schema.ts";
import { type ClassesKept, readClasses } from "../../policy/compile-classes.ts";
import { isMembershipKey } from "../../policy/membership.ts";
import type { MemberParts, MembershipKey, Memberships, PolicyObjects, PolicyPod } from "../../policy/model.ts";
import { dropUnfinished, placeText } from "../install.ts";

/** Policy as it was when it was last written down. */
export interface KeptPolicy {
  objects: PolicyObjects;
  memberships: Memberships;
  /** By attachment. */
  pods: ReadonlyMap<string, PolicyPod>;
  classes: ClassesKept;
  /** What was annotated on the Node of break-glass. */
  nodeBreakGlass: string | undefined;
}

const formatVersion = 1;

const port = z.object({ name: z.string(), protocol: z.int(), port: z.int() });
const member = z.object({ address: ip, ports: z.array(port) });
const pod = z.object({
  namespace: z.string(),
  name: z.string(),
  uid: z.string(),
  labels: z.record(z.string(), z.string()),
  serviceAccount: z.string(),
  node: z.string(),
  addresses: z.array(ip),
  ports: z.array(port),
  /** Absent in files of agents that knew none. */
  sourceGuard: z.string().exactOptional(),
});
const listOf = <T extends KubeObject>(kind: Kind<T>): z.ZodType<T[]> =>
  z.array(z.unknown()).transform((list) => list.map((raw) => kind.parse(raw)));
const fileSchema = z.object({
  version: z.literal(formatVersion),
  node: z.string(),
  objects: z.object({
    namespaces: listOf(namespaces),
    serviceAccounts: listOf(serviceAccounts),
    networkPolicies: listOf(networkPolicies),
    groups: listOf(securityGroups),
    bindings: listOf(securityGroupBindings),
    groupPolicies: listOf(securityGroupPolicies),
  }),
  memberships: z.array(z.tuple([z.string(), z.array(member)])),
  pods: z.array(z.tuple([z.string(), pod])),
  classes: z.unknown(),
  /** Absent in files of agents that knew no break-glass. */
  nodeBreakGlass: z.string().exactOptional(),
});

/** Where it lies below the agent's state directory. */
export const keptPolicyName = "policy.json";
export const keptPolicyFile = (state: string): string => join(state, keptPolicyName);

/** Reads what was kept for this node, once, at the start (name and uid); undefined where there is none, or none that can be understood, which is logged: the cluster then has to tell first. */
export async function readKeptPolicy(file: string, node: string, log: Log): Promise<KeptPolicy | undefined> {
  let text: string;
  try {
    await dropUnfinished(file);
    text = await readFile(file, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    log.error({ file, error: describe(error) }, "the policy kept for outages cannot be read");
    return undefined;
  }
  try {
    const { node: writer, objects, memberships, pods, classes, nodeBreakGlass } = fileSchema.parse(JSON.parse(text));
    if (writer !== node) throw new Error(`it was written for node ${writer}, and this is ${node}`);
    const numbers = readClasses(classes);
    if (numbers === undefined) throw new Error("its classes are no classes");
    return {
      objects,
      memberships: new Map(
        memberships.flatMap(([key, members]): [MembershipKey, MemberParts][] =>
          isMembershipKey(key) ? [[key, [members]]] : [],
        ),
      ),
      pods: new Map(pods),
      classes: numbers,
      nodeBreakGlass,
    };
  } catch (error) {
    log.error({ file, error: describe(error) }, "the policy kept for outages cannot be understood; it is written anew");
    return undefined;
  }
}

/** Gives what writes the file for this node (name and uid); the same content again is not written. @throws Fault "io-failure" */
export function createPolicyFile(file: string, node: string): (policy: KeptPolicy) => Promise<void> {
  let written: string | undefined; // a hash: the text can be of many megabytes
  return async ({ objects, memberships, pods, classes, nodeBreakGlass }) => {
    const text = JSON.stringify({
      version: formatVersion,
      node,
      objects,
      memberships: Array.from(memberships, ([key, parts]) => [key, parts.flat()]),
      pods: [...pods],
      classes,
      nodeBreakGlass,
    });
    const digest = hash("sha256", text);
    if (digest === written) return;
    await placeText(file, text, 0o600);
    written = digest;
  };
}
