// Our configuration with a scripted IPAM plugin in it: what the delegate gives, and where it is found.

import { dirname } from "node:path";
import type { CallChange, Scope, TestNode } from "./node.ts";
import { type ScriptedPlugin, scriptPlugin } from "./scripted.ts";

let given = 0;

export interface Delegated {
  delegate: ScriptedPlugin;
  addresses: string[];
  /** Our configuration with the delegate as IPAM, and a CNI_PATH on which it is found. */
  asked: (more?: Record<string, unknown>, env?: CallChange["env"]) => CallChange;
}

/** A scripted IPAM plugin that gives one fresh address of each family, and routes of its own. */
export function delegated(t: Scope, node: TestNode, type = "host-local"): Delegated {
  given += 1;
  const delegate = scriptPlugin(t, type);
  const addresses = [`192.0.2.${given}`, `2001:db8::${given.toString(16)}`];
  const ips = [
    { address: `${addresses[0]}/24`, gateway: "192.0.2.254" },
    { address: `${addresses[1]}/64`, gateway: "2001:db8::fffe" },
  ];
  delegate.answers("ADD", `{cniVersion, ips: ${JSON.stringify(ips)}, routes: [{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}`);
  return {
    delegate,
    addresses,
    asked: (more = {}, env = {}) => ({
      conf: { ipam: { type, ranges: [[{ subnet: "192.0.2.0/24" }]], kept: { as: ["it", "is"] } }, ...more },
      env: { CNI_PATH: `/nowhere:${delegate.directory}:${dirname(node.plugin)}`, ...env },
    }),
  };
}

/** Verbs of the calls that the delegate got, in order. */
export const verbsOf = ({ delegate }: Delegated): string[] => delegate.calls().map(({ verb }) => verb);
