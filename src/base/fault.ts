// The one error table: every failure that a caller can expect has a code here, and the code decides how each protocol reports it.

interface FaultKind {
  /** CNI error code (CNI specification 1.1, "Error"; 100 and up are the plugin's own). */
  cni: number;
  /** Status for the agent's HTTP socket. */
  http: number;
  /** True where the same request can succeed later without anybody changing it. */
  retryable: boolean;
}

const kind = (cni: number, http: number, retryable = false): FaultKind => ({ cni, http, retryable });

export const faults = {
  // The request (CNI 1-8).
  "cni-version": kind(1, 400),
  "unsupported-value": kind(2, 400),
  "bad-environment": kind(4, 400),
  "io-failure": kind(5, 500, true),
  "bad-json": kind(6, 400),
  "bad-network-config": kind(7, 400),
  "bad-netns": kind(8, 400),
  // Not now (CNI 11).
  "agent-busy": kind(11, 503, true),
  "agent-stopping": kind(11, 503, true),
  "pool-empty": kind(11, 503, true),
  "address-taken": kind(11, 409, true),
  "call-timeout": kind(11, 503, true),
  "policy-unknown": kind(11, 503, true),
  // Answers to STATUS (CNI 50, 51).
  "not-available": kind(50, 503, true),
  "limited-connectivity": kind(51, 503, true),
  // Ours (CNI 100 and up).
  "interface-exists": kind(100, 409),
  "netns-missing": kind(101, 404),
  "kernel-refused": kind(102, 500),
  "kernel-missing": kind(103, 404),
  "kernel-exists": kind(104, 409),
  "kernel-busy": kind(105, 503, true),
  "check-failed": kind(106, 409),
  "store-failed": kind(107, 500, true),
  "machine-unfit": kind(108, 500),
  "bad-config": kind(109, 400),
  "bad-frame": kind(110, 400),
  "not-found": kind(111, 404),
  "cleanup-incomplete": kind(112, 500, true),
  "delegate-failed": kind(114, 502),
  "delegate-missing": kind(115, 502),
  "lab-failed": kind(113, 500),
  "pod-replaced": kind(122, 409),
  "pods-attached": kind(123, 409),
  "node-replaced": kind(124, 500),
  // The Kubernetes API. Those that pass by themselves are CNI 11: an ADD that needed the API may be tried again.
  "kube-not-found": kind(116, 404),
  "kube-conflict": kind(117, 409, true),
  "kube-exists": kind(118, 409),
  "kube-expired": kind(119, 410, true),
  "kube-refused": kind(120, 502),
  "kube-unauthorized": kind(11, 502, true),
  "kube-busy": kind(11, 503, true),
  "kube-unreachable": kind(11, 503, true),
  "kube-answer": kind(121, 502),
  bug: kind(999, 500),
} as const satisfies Record<string, FaultKind>;

export type FaultCode = keyof typeof faults;

export interface FaultOptions {
  cause?: unknown;
  /** Facts for logs and programs; never secrets. */
  data?: Record<string, unknown>;
}

/** An expected failure: `code` from the table above, `message` one sentence that names the thing, the place and the cure. */
export class Fault extends Error {
  readonly code: FaultCode;
  readonly data: Record<string, unknown>;

  constructor(code: FaultCode, message: string, { cause, data = {} }: FaultOptions = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "Fault";
    this.code = code;
    this.data = data;
  }
}

/** True where `error` is a Fault, and of one of `codes` if any are given. */
export function isFault(error: unknown, ...codes: FaultCode[]): error is Fault {
  return error instanceof Fault && (codes.length === 0 || codes.includes(error.code));
}

/** Gives any thrown value as a Fault: what is not one already is a bug of ours and says so. */
export function asFault(error: unknown): Fault {
  if (error instanceof Fault) return error;
  return new Fault("bug", `unexpected failure: ${messageOf(error)}`, { cause: error });
}

/** The message of `error` and of its causes, outermost first, in one line. At most 8 causes are followed. */
export function describe(error: unknown): string {
  const parts: string[] = [];
  let current: unknown = error;
  for (let depth = 0; depth < 8 && current !== undefined; depth += 1) {
    parts.push(messageOf(current));
    current = current instanceof Error ? current.cause : undefined;
  }
  return parts.join(": ");
}

function messageOf(error: unknown): string {
  if (error instanceof Error) return error.message;
  return typeof error === "string" ? error : JSON.stringify(error);
}
