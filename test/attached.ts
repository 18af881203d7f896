// What a test has attached, as a runtime keeps it: from the calls that it made and their answers, never from the agent's own word.

import { type Living, livingName, livingOfResult } from "../lab/audit/living.ts";

/** One call of the plugin and how it ended. */
export interface EndedCall {
  verb: string;
  network: string;
  containerId: string;
  ifname: string;
  /** The list of GC, if it had one. */
  validAttachments?: readonly { containerID: string; ifname: string }[];
  exitCode: number | null;
  stdout: string;
}

/** Attachments by their names. Tests that attach or release past the plugin change it themselves. */
export type Attached = Map<string, Living>;

/** Writes down what a call has changed: only success counts, and a DEL that waits for the next agent is a success. */
export function noteCall(attached: Attached, call: EndedCall): void {
  if (call.exitCode !== 0) return;
  const name = livingName(call);
  if (call.verb === "ADD") attached.set(name, livingOfResult(call, call.stdout));
  if (call.verb === "DEL") attached.delete(name);
  if (call.verb === "GC" && call.validAttachments !== undefined) collect(attached, call.network, call.validAttachments);
}

function collect(attached: Attached, network: string, keep: NonNullable<EndedCall["validAttachments"]>): void {
  const kept = new Set(
    keep.map(({ containerID, ifname }) => livingName({ network, containerId: containerID, ifname })),
  );
  for (const name of attached.keys()) if (name.startsWith(`${network}/`) && !kept.has(name)) attached.delete(name);
}
