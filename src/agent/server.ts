// One CNI call from frame to answer: parses it, waits its turn, runs the verb, and makes an error object of whatever went wrong.

import { unreachable } from "../base/assert.ts";
import { asFault, describe, type Fault, faults } from "../base/fault.ts";
import type { Log } from "../base/log.ts";
import type { Metrics } from "../base/metrics.ts";
import { replyVersion } from "../cni/netconf.ts";
import { parseRequest } from "../cni/request.ts";
import { errorObject, resultObject, versionObject } from "../cni/result.ts";
import type { CniRequest, CniVersion, VersionRequest } from "../cni/types.ts";
import type { WireRequest } from "../cni/wire.ts";
import { type Attachment, attachmentKey } from "../ipam/store.ts";
import type { Pod } from "../kube/core-objects.ts";
import { attach, type AttachDeps, attachmentIdOf } from "./attach.ts";
import { check } from "./check.ts";
import { collect } from "./collect.ts";
import type { Reply } from "./connection.ts";
import { delegateOf } from "./delegate.ts";
import { detach, type DetachCall } from "./detach.ts";
import type { Gate } from "./gate.ts";
import { answerStatus, type HealthDeps } from "./health.ts";
import { checkLent, lend, type LendDeps } from "./lend.ts";

export interface CallDeps extends AttachDeps, LendDeps, HealthDeps {
  gate: Gate;
  metrics: Metrics;
  log: Log;
  /** The pod's object, where the API server or a file has one. Rejects an ADD for a pod that is not this node's any more. @throws Fault "pod-replaced" */
  admit: (request: CniRequest) => Promise<Pod | undefined>;
  /** See VanishedDeps. */
  podLives: (pod: NonNullable<Attachment["pod"]>) => boolean;
  /** Settles when what runtimes had deleted of that container while no agent answered has been tried. */
  releasesApplied: (containerId: string) => Promise<void>;
}

/** Answers one request of a shim; whatever happens becomes an answer. */
export async function answer(frame: WireRequest, deps: CallDeps): Promise<Reply> {
  const startedMs = performance.now();
  let request: CniRequest | VersionRequest | undefined;
  try {
    request = parseRequest(frame);
    const stdout = await runVerb(request, deps);
    record(deps, { request, startedMs, outcome: "ok" });
    return { exitCode: 0, stdout };
  } catch (error) {
    const fault = asFault(error);
    record(deps, { request, startedMs, outcome: fault.code, error });
    return refusal(fault, replyVersion(frame.stdin));
  }
}

/** The answer to a call that failed. `version`: the one that the request speaks, where that is known. */
export function refusal(fault: Fault, version?: CniVersion): Reply {
  return { exitCode: 1, stdout: `${JSON.stringify(errorObject(fault, version))}\n` };
}

/** Runs a verb and gives what it prints. */
async function runVerb(request: CniRequest | VersionRequest, deps: CallDeps): Promise<string> {
  switch (request.verb) {
    case "ADD": {
      await deps.releasesApplied(request.containerId);
      // All else in its turn: a DEL that comes meanwhile is about this ADD.
      const result = await inTurn(request, deps, async () => {
        const object = await deps.admit(request);
        return request.role === "ipam" ? lend(request, deps) : attach(request, deps, object);
      });
      return `${JSON.stringify(resultObject(result, request.config.cniVersion, request.config.prevResult))}\n`;
    }
    case "DEL":
      await inTurn(request, deps, () => detach(attachmentIdOf(request), deps, detachCallOf(request)));
      return "";
    case "CHECK":
      await inTurn(request, deps, async () =>
        request.role === "ipam" ? checkLent(request, deps) : check(request, deps),
      );
      return "";
    case "GC":
      await collect(request, deps);
      return "";
    case "STATUS":
      await answerStatus(request, deps);
      return "";
    case "VERSION":
      return `${JSON.stringify(versionObject(request.cniVersion))}\n`;
    default:
      return unreachable(request, "verb");
  }
}

/** Calls for one container run one after the other. */
function inTurn<T>(request: CniRequest, { gate }: CallDeps, work: () => Promise<T>): Promise<T> {
  return gate.run(request.containerId, work);
}

/**
 * The caller left before it had the answer of an ADD, and takes the pod for not attached: so it must not be.
 * A DEL whose answer was lost is done all the same.
 */
export async function rollBack(frame: WireRequest, reply: Reply, deps: CallDeps): Promise<void> {
  const request = parseRequest(frame);
  if (request.verb !== "ADD" || reply.exitCode !== 0) return;
  const id = attachmentIdOf(request);
  deps.log.warn({ attachment: attachmentKey(id) }, "the caller of ADD went away: taken back");
  await inTurn(request, deps, () => detach(id, deps));
}

/** What a DEL says beside the attachment's name. */
export function detachCallOf(request: CniRequest): DetachCall {
  return {
    ...(request.netns === undefined ? {} : { netns: request.netns }),
    ...(request.delegate === undefined ? {} : { delegate: delegateOf(request, request.delegate) }),
  };
}

/** The attachment's one name in the log, from here to the reaper. */
function attachmentNamed(request: CniRequest | VersionRequest | undefined): { attachment?: string } {
  if (request === undefined || request.verb === "VERSION" || request.containerId === "") return {};
  return { attachment: attachmentKey(attachmentIdOf(request)) };
}

interface Outcome {
  request: CniRequest | VersionRequest | undefined;
  startedMs: number;
  outcome: string;
  error?: unknown;
}

/** Writes down what became of a call: after the answer is on its way, since the caller waits for nothing else. */
function record(deps: CallDeps, ended: Outcome): void {
  const durationMs = performance.now() - ended.startedMs;
  setImmediate(() => writeDown(deps, ended, durationMs));
}

function writeDown({ log, metrics }: CallDeps, { request, outcome, error }: Outcome, durationMs: number): void {
  const verb = request?.verb ?? "unknown";
  metrics.verb(verb, outcome, durationMs);
  const facts = {
    verb,
    ...attachmentNamed(request),
    durationMs: Math.round(durationMs * 1000) / 1000,
  };
  if (error === undefined) log.info(facts, "done");
  else {
    const level = asFault(error).code === "bug" ? "error" : "warn";
    log[level]({ ...facts, code: outcome, cni: faults[asFault(error).code].cni, error: describe(error) }, "failed");
  }
}
