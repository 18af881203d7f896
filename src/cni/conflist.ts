// The network configuration that the agent installs for the container runtime.

import { newestVersion } from "./types.ts";

/** The name under which runtimes run the plugin. */
export const pluginType = "fairlead-cni";
export const networkName = "fairlead";
/** Runtimes take the lexically first file of their directory, and by custom a CNI's own begins with 10. */
export const conflistFile = "10-fairlead.conflist";

/** Text of the file: the plugin alone, without options, since the agent has its own configuration. */
export function conflistText(): string {
  const conflist = { cniVersion: newestVersion, name: networkName, plugins: [{ type: pluginType }] };
  return `${JSON.stringify(conflist, undefined, 2)}\n`;
}
