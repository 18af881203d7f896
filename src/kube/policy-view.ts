// What people have written, read anew only when something in it has changed that decides.

import type { Cache } from "./contract.ts";
import type {
  Namespace,
  NetworkPolicy,
  SecurityGroup,
  SecurityGroupBinding,
  SecurityGroupPolicy,
  ServiceAccount,
} from "./policy-objects.ts";
import { breakGlassAnnotation } from "../policy/break-glass.ts";
import { defaultKeys, type PolicyKeys } from "../policy/keys.ts";
import { modeAnnotation } from "../policy/read-network-policy.ts";
import { sourceGuardAnnotation } from "../policy/source-guard.ts";
import { type ReadObjects, readObjects } from "../policy/read-objects.ts";

export interface PolicyCaches {
  namespaces: Cache<Namespace>;
  serviceAccounts: Cache<ServiceAccount>;
  networkPolicies: Cache<NetworkPolicy>;
  groups: Cache<SecurityGroup>;
  bindings: Cache<SecurityGroupBinding>;
  groupPolicies: Cache<SecurityGroupPolicy>;
}

/** Annotations that decide. */
const deciding = [modeAnnotation, breakGlassAnnotation, sourceGuardAnnotation] as const;

type Watched = Namespace | NetworkPolicy | SecurityGroup;

/** Gives a function that reads what the caches hold: the same object for as long as nothing has changed but statuses, and annotations that decide nothing. */
export function createPolicyView(
  caches: PolicyCaches,
  keys: Pick<PolicyKeys, "allowDns"> = defaultKeys,
): () => ReadObjects {
  const marks = new WeakMap<Watched, string>();
  let before: string[] = [];
  let read: ReadObjects | undefined;

  /** What of an object decides: its spec by its generation, or its labels, where it has no spec that is ours. */
  const mark = (object: Watched): string => {
    const known = marks.get(object);
    if (known !== undefined) return known;
    const { namespace = "", name, uid = "", generation, labels, annotations } = object.metadata;
    const said = "spec" in object ? `${generation ?? object.metadata.resourceVersion}` : JSON.stringify(labels ?? {});
    const noted = deciding.map((key) => annotations?.[key] ?? "").join(" ");
    const made = `${namespace}/${name} ${uid} ${said} ${noted}`;
    marks.set(object, made);
    return made;
  };

  return () => {
    const objects = {
      namespaces: caches.namespaces.all(),
      serviceAccounts: caches.serviceAccounts.all(),
      networkPolicies: caches.networkPolicies.all(),
      groups: caches.groups.all(),
      bindings: caches.bindings.all(),
      groupPolicies: caches.groupPolicies.all(),
    };
    const lists: readonly (readonly Watched[])[] = Object.values(objects);
    const now = lists.flatMap((list) => ["", ...list.map(mark)]);
    if (read === undefined || now.length !== before.length || now.some((one, at) => one !== before[at])) {
      read = readObjects(objects, keys);
      before = now;
    }
    return read;
  };
}
