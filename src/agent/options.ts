// What an agent is given by the program that runs it: its configuration, and everything that tests replace.

import type { Log } from "../base/log.ts";
import type { Kernel } from "../kernel/contract.ts";
import type { Kube } from "../kube/contract.ts";
import type { AgentConfig } from "./config.ts";
import type { Door } from "./connection.ts";
import type { ReleaseProgram } from "./own-memory.ts";

export interface AgentOptions {
  config: AgentConfig;
  kernel: Kernel;
  /** The cluster's API, where the configuration speaks of one. */
  kube?: Kube;
  log: Log;
  version: string;
  /** The built shim that the agent installs. */
  shim: string;
  /** Lets callers in: the addon, which needs no privileges for it. */
  door: Door;
  signal: AbortSignal;
  /** Called once, when pods can be attached. */
  onServing?: () => void;
  /** Wall clock in ms, for people; tests pass their own. */
  now?: () => number;
  /** Ms since boot, for what has to last a certain time; tests pass their own. */
  uptime?: () => number;
  /** Longest silence of a watch of policies that is believed without asking. */
  silentMaxMs?: number;
  /** Gives back one of so many parts of the pages of the own program; absent: they stay. */
  releaseProgram?: ReleaseProgram;
  /** False: the first pods wait while code is compiled. For tests that start many agents. */
  rehearsal?: boolean;
}
