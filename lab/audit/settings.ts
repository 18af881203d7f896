// The kernel settings that the agent owns on a node (docs/agent.md), and how they are held against what is set.

import { type Difference, differs } from "./difference.ts";
import { type AuditedNode, servesFamily } from "./node.ts";

/** The values that must stand under /proc/sys/net; families without a block are left alone. */
function wantedSettings(node: AuditedNode): Record<string, string> {
  return {
    ...(servesFamily(node, 4)
      ? {
          "ipv4/ip_forward": "1",
          "ipv4/conf/all/send_redirects": "0",
          "ipv4/conf/default/send_redirects": "0",
          "ipv4/conf/default/accept_redirects": "0",
        }
      : {}),
    ...(servesFamily(node, 6) ? { "ipv6/conf/all/forwarding": "1", "ipv6/conf/default/accept_redirects": "0" } : {}),
  };
}

/** Where 1 would mean that the uplink no longer learns; absent without IPv6. What it was before the agent came is not known. */
function learningSetting(node: AuditedNode): string | undefined {
  return servesFamily(node, 6) ? `ipv6/conf/${node.uplink.name}/accept_ra` : undefined;
}

/** Every setting that `compareSettings` looks at, below /proc/sys/net. */
export function settingsOf(node: AuditedNode): string[] {
  return [...Object.keys(wantedSettings(node)), ...[learningSetting(node)].flatMap((key) => key ?? [])];
}

/** `held`: by key; a setting that the kernel does not have is absent. */
export function compareSettings(node: AuditedNode, held: ReadonlyMap<string, string>): Difference[] {
  const learning = learningSetting(node);
  return [
    ...Object.entries(wantedSettings(node)).flatMap(([key, value]) => {
      const is = held.get(key);
      return is === value ? [] : [differs(`setting ${key} is ${is ?? "not there"}, not ${value}`)];
    }),
    ...(learning !== undefined && held.get(learning) === "1"
      ? [differs(`setting ${learning} is 1: a forwarding uplink learns no routes by it`)]
      : []),
  ];
}
