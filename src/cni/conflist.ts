// The network configuration that the agent installs for the container runtime.

import { type CniVersion, newestVersion } from "./types.ts";

/** The name under which runtimes run the plugin. */
export const pluginType = "fairlead-cni";
export const networkName = "fairlead";
/** Runtimes take the lexically first file of their directory, and by custom a CNI's own begins with 10. */
export const conflistFile = "10-fairlead.conflist";

/** What runtimes without `cniVersions` (it came with 1.1.0) take: libcni before 1.2, as in containerd 1.7, refuses anything newer. */
const commonVersion: CniVersion = "1.0.0";

/** Text of the file: the plugin alone, without options, since the agent has its own configuration. */
export function conflistText(): string {
  const conflist = {
    cniVersion: commonVersion,
    // A runtime that reads this takes the newest that it knows.
    cniVersions: ["0.4.0", commonVersion, newestVersion],
    name: networkName,
    plugins: [{ type: pluginType }],
  };
  return `${JSON.stringify(conflist, undefined, 2)}\n`;
}
