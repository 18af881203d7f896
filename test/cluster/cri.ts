// containerd as a kubelet asks it: the CRI's Status by its socket, in as much of gRPC and protobuf as that takes.

import { connect as connectHttp2 } from "node:http2";
import { connect } from "node:net";
import { buffer } from "node:stream/consumers";
import { present } from "../../src/base/assert.ts";
import { Fault } from "../../src/base/fault.ts";
import { until } from "../../lab/waiting.ts";
import type { ClusterNode } from "./node.ts";
import { nodePaths } from "./node-config.ts";

/** What a runtime says of its network; kubelet makes a Node Ready and NotReady by it. */
export interface NetworkCondition {
  ready: boolean;
  /** "" where it is ready. */
  message: string;
}

/** Longer than a plugin may take for STATUS. */
const answerWithinMs = 30_000;
const everyMs = 500;
const watchMaxMs = 600_000;

/** Field numbers of k8s.io/cri-api, pkg/apis/runtime/v1/api.proto. */
const statusResponse = { status: 1 } as const;
const runtimeStatus = { conditions: 1 } as const;
const runtimeCondition = { type: 1, status: 2, message: 4 } as const;

/** Asks the node's runtime whether its network is ready. @throws Fault "lab-failed" where it does not answer as a runtime does */
export async function askNetwork(node: ClusterNode): Promise<NetworkCondition> {
  const answer = await callRuntime(node, "/runtime.v1.RuntimeService/Status");
  const [status] = fieldsOf(answer, statusResponse.status);
  const conditions = fieldsOf(bytes(status), runtimeStatus.conditions).map(bytes);
  const text = (condition: Uint8Array, field: number): string =>
    Buffer.from(bytes(fieldsOf(condition, field)[0] ?? new Uint8Array())).toString();
  const found = conditions.find((condition) => text(condition, runtimeCondition.type) === "NetworkReady");
  if (found === undefined) throw new Fault("lab-failed", `containerd of ${node.name} has no condition NetworkReady`);
  return {
    ready: fieldsOf(found, runtimeCondition.status)[0] === 1,
    message: text(found, runtimeCondition.message),
  };
}

export interface NetworkWatch {
  /** How often the runtime has answered. */
  asked(): number;
  /** Ends it; gives how often the runtime was asked, and every answer by which the network was not ready. */
  stop(): Promise<{ asked: number; notReady: readonly string[] }>;
}

/** Asks the node's runtime again and again, twice a second, until it is stopped. */
export function watchNetwork(node: ClusterNode): NetworkWatch {
  let [stopped, asked] = [false, 0];
  const notReady: string[] = [];
  const ask = async (): Promise<string | undefined> => {
    if (stopped) return undefined;
    const { ready, message } = await askNetwork(node);
    asked += 1;
    if (!ready) notReady.push(`${new Date().toISOString()} ${message}`);
    return "it is not stopped";
  };
  const ended = until(ask, {
    what: `watch on containerd of ${node.name}`,
    withinMs: watchMaxMs,
    everyMs,
    mayFail: true,
  }).then(
    () => undefined,
    (error: unknown) => error,
  );
  return {
    asked: () => asked,
    stop: async () => {
      stopped = true;
      const error = await ended;
      if (error !== undefined) throw error;
      return { asked, notReady };
    },
  };
}

/** One unary call with an empty request; gives the message of the answer. */
async function callRuntime(node: ClusterNode, path: string): Promise<Uint8Array> {
  const socket = node.hostPath(nodePaths.containerdSocket);
  const session = connectHttp2("http://localhost", { createConnection: () => connect(socket) });
  const failed = new Promise<never>((_, reject) => {
    session.once("error", reject);
  });
  try {
    const signal = AbortSignal.timeout(answerWithinMs);
    const headers = { ":method": "POST", ":path": path, "content-type": "application/grpc", te: "trailers" };
    const call = session.request(headers, { signal });
    let said = "no trailers";
    call.once("trailers", (trailers) => {
      said = `grpc-status ${String(trailers["grpc-status"])}: ${String(trailers["grpc-message"])}`;
    });
    // Five bytes before each message: 0 for "not compressed", and its length.
    call.end(Buffer.alloc(5));
    const answer = await Promise.race([buffer(call), failed]);
    if (answer.length < 5) throw new Fault("lab-failed", `containerd of ${node.name}: ${path}: ${said}`);
    return answer.subarray(5, 5 + answer.readUInt32BE(1));
  } finally {
    session.close();
  }
}

type Value = number | Uint8Array;

function bytes(value: Value | undefined): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw new Fault("lab-failed", `protobuf: bytes are not there, but ${String(value)}`);
}

/** Every value of one field in a protobuf message (protobuf.dev, "Encoding"): numbers and bytes, which is all that Status has. */
function fieldsOf(message: Uint8Array, field: number): Value[] {
  const found: Value[] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 1; ; shift *= 128) {
      const byte = present(message[at], "byte of a protobuf message");
      at += 1;
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const wire = tag % 8;
    if (wire !== 0 && wire !== 2) throw new Fault("lab-failed", `protobuf: wire type ${wire} is not read here`);
    let value: Value = varint();
    if (wire === 2) {
      const length = value;
      value = message.subarray(at, at + length);
      at += length;
    }
    if ((tag - wire) / 8 === field) found.push(value);
  }
  return found;
}
