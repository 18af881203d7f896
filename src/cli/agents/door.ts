// The way to an agent's read-only answers, whichever way that is: its socket on this node, or a program in its pod.

import { askAgent } from "../agent-client.ts";

export interface AgentDoor {
  /** How people are told which agent it is. */
  place: string;
  /**
   * Gives the JSON that the agent answers for `path`. Asked again after a failure, it looks for the agent anew.
   * @throws Fault "not-found" where no agent is there, "io-failure" where it does not answer well, "kube-refused" without the right to ask
   */
  ask(path: string): Promise<unknown>;
  close(): void;
}

/** The agent that listens at this socket. */
export function socketDoor(socket: string): AgentDoor {
  return { place: `the agent at ${socket}`, ask: (path) => askAgent(socket, path), close: () => {} };
}
