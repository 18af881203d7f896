// Programs in pods, by the API server's exec: started, talked to and ended by the official client library.

import type { RequestOptions } from "node:https";
import { PassThrough, Writable } from "node:stream";
import { z } from "zod";
import { describe, Fault } from "../../base/fault.ts";
import { createTalk, type Talk } from "../agents/talk.ts";
import { type Access, openAccess } from "./library.ts";
import type { OpenCluster } from "./open.ts";

/** How long is waited: for the API server's answer, and for its word that a connection has ended. */
const waits = { openWaitMs: 15_000, closeWaitMs: 1_000 };

/** A program that is started in each pod. */
export interface PodProgram {
  namespace: string;
  container: string;
  command: string[];
}

/**
 * Starts a program in a pod, whose place people are told by, and gives the talk with it.
 * @throws Fault "kube-refused" without the right to, "kube-unauthorized", "io-failure", "not-found" without the library
 */
export type OpenTalk = (pod: string, place: string) => Promise<{ talk: Talk; close: () => void }>;

/** What of the library's connection is used here. */
interface Connection {
  onmessage: ((event: unknown) => void) | null;
  addEventListener(name: "close", heard: () => void): void;
  close(): void;
  /** Ends it without a word. */
  terminate(): void;
}

/** Gives the way into pods of this cluster. Credentials are fetched once, when they are first needed, and again where they are refused. */
export function createExec(
  { place }: Pick<OpenCluster, "place">,
  program: PodProgram,
  { openWaitMs, closeWaitMs } = waits,
): OpenTalk {
  const limits = { handshakeTimeout: openWaitMs, closeTimeout: closeWaitMs };
  let access: Promise<Access> | undefined;
  return async (pod, of) => {
    const current = (access ??= accessTo(place, limits));
    try {
      return await start(await current, { ...program, pod, place: of });
    } catch (cause) {
      const fault = notStarted(cause, program, { pod, place: of });
      // The next one fetches others: who asked meanwhile may have them already.
      if (fault.code === "kube-unauthorized" && access === current) access = undefined;
      throw fault;
    }
  };
}

async function accessTo({ kubeconfig: file, context }: OpenCluster["place"], limits: object): Promise<Access> {
  const what = "agents of other nodes are asked by exec into their pods";
  const access = await openAccess({ file, context }, what, "run this on the node");
  // For each connection the library would ask for credentials, and wait without end for an answer.
  const applyToHTTPSOptions = async (options: RequestOptions): Promise<void> =>
    void Object.assign(options, access.credentials, limits);
  Object.assign(access.config, { applyToHTTPSOptions });
  return access;
}

async function start(
  { library, config }: Access,
  { namespace, container, command, pod, place }: PodProgram & { pod: string; place: string },
): ReturnType<OpenTalk> {
  const input = new PassThrough();
  const talk = createTalk(place, (line) => void input.write(line));
  const connection: Connection = await new library.Exec(config).exec(
    namespace,
    pod,
    container,
    command,
    textSink((text) => talk.heard(text)),
    textSink((text) => talk.complained(text)),
    input,
    false,
    ({ status, message }) => talk.ended(status === "Success" ? undefined : message),
  );
  guard(connection, talk);
  return {
    talk,
    close: () => {
      input.end();
      connection.close();
    },
  };
}

/** What comes on the connection is read by the library in an event of its own: what it cannot read would end this process. */
function guard(connection: Connection, talk: Talk): void {
  const { onmessage: read } = connection;
  const onmessage = (event: unknown): void => {
    try {
      read?.call(connection, event);
    } catch {
      talk.ended("something came that is no answer of exec");
      connection.terminate();
    }
  };
  Object.assign(connection, { onmessage }); // in the place of the library's
  connection.addEventListener("close", () => talk.ended("the connection ended"));
}

const failureSchema = z.object({ message: z.string() }).catch({ message: "it was refused" });

function notStarted(cause: unknown, { namespace }: PodProgram, { pod, place }: { pod: string; place: string }): Fault {
  if (cause instanceof Fault) return cause;
  // An event of the connection, if it is no error.
  const said = cause instanceof Error ? describe(cause) : failureSchema.parse(cause).message;
  if (/\b403\b/.test(said)) {
    const right = `the right to create pods/exec in namespace ${namespace} is missing`;
    return new Fault("kube-refused", `agents cannot be asked: ${right}`);
  }
  if (/\b401\b/.test(said))
    return new Fault("kube-unauthorized", "agents cannot be asked: the API server does not take these credentials");
  return new Fault("io-failure", `${place} cannot be asked by exec into pod ${namespace}/${pod}: ${said}`);
}

/** Hands on what is written to it as text, whole characters at a time. What comes after its end is nobody's. */
function textSink(heard: (text: string) => void): Writable {
  const decoder = new TextDecoder();
  const sink = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      heard(decoder.decode(chunk, { stream: true }));
      done();
    },
  });
  return sink.on("error", () => {});
}
