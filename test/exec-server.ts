// A server that speaks as much of exec over a WebSocket (RFC 6455, Kubernetes' v5.channel.k8s.io) as tests want, in and out of order.

import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import type { TestContext } from "node:test";

/** Of RFC 6455, section 1.3. */
const acceptKey = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const [binary, closing] = [0x2, 0x8];

/** One program that was started. */
export interface Program {
  /** Of the request. */
  path: string;
  /** Writes on one of its streams: 1 stdout, 2 stderr, 3 status. */
  write(stream: number, text: string): void;
  /** Ends the connection, with or without a word. */
  end(how: "close" | "cut"): void;
}

export interface ExecServer {
  place: { server: string; context: string; kubeconfig: string };
  /** Requests, and how often the credentials' program was run. */
  paths: string[];
  credentialRuns: () => number;
}

export interface ExecBehaviour {
  /** How often the program that gives credentials fails before it gives any. */
  credentialFailures?: number;
  /** What it answers in place of a connection; "nothing" at all. */
  refuses?: () => 401 | 403 | "nothing" | undefined;
  /** Told of each line that comes on stdin. */
  onLine: (line: string, program: Program) => void;
}

/** Starts one; its kubeconfig gets a token from a program. */
export async function startExecServer(
  t: TestContext,
  { credentialFailures = 0, refuses = () => undefined, onLine }: ExecBehaviour,
): Promise<ExecServer> {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-exec-"));
  const sockets = new Set<Duplex>();
  const paths: string[] = [];
  const server = createServer((_request, response) => response.writeHead(404).end());
  server.on("upgrade", (request: IncomingMessage, socket: Duplex) => {
    sockets.add(socket);
    socket.on("error", () => {});
    paths.push(request.url ?? "");
    const refusal = refuses();
    if (refusal === undefined) serve(socket, request, onLine);
    else if (refusal !== "nothing") socket.end(`HTTP/1.1 ${refusal} No\r\ncontent-length: 0\r\n\r\n`);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
    rmSync(directory, { recursive: true });
  });
  const runs = join(directory, "runs");
  writeFileSync(runs, "");
  const { port } = server.address() as AddressInfo;
  const [url, kubeconfig] = [`http://127.0.0.1:${port}`, join(directory, "config")];
  writeFileSync(kubeconfig, JSON.stringify(kubeconfigOf(url, { runs, failures: credentialFailures })));
  return {
    place: { server: url, context: "lab", kubeconfig },
    paths,
    credentialRuns: () => readFileSync(runs, "utf8").length,
  };
}

function kubeconfigOf(server: string, { runs, failures }: { runs: string; failures: number }): object {
  const [apiVersion, kind] = ["client.authentication.k8s.io/v1", "ExecCredential"];
  const credential = JSON.stringify({ apiVersion, kind, status: { token: "from-a-program" } });
  const script = `printf x >>'${runs}'; [ $(wc -c <'${runs}') -gt ${failures} ] && printf '%s' '${credential}'`;
  const exec = { apiVersion, command: "sh", args: ["-c", script], interactiveMode: "Never" };
  return {
    "current-context": "lab",
    contexts: [{ name: "lab", context: { cluster: "lab", user: "me" } }],
    clusters: [{ name: "lab", cluster: { server } }],
    users: [{ name: "me", user: { exec } }],
  };
}

function serve(socket: Duplex, { headers, url = "" }: IncomingMessage, onLine: ExecBehaviour["onLine"]): void {
  const accept = createHash("sha1").update(`${headers["sec-websocket-key"]}${acceptKey}`).digest("base64");
  const head = ["HTTP/1.1 101 Switching Protocols", "upgrade: websocket", "connection: upgrade"];
  const more = [`sec-websocket-accept: ${accept}`, "sec-websocket-protocol: v5.channel.k8s.io"];
  socket.write(`${[...head, ...more].join("\r\n")}\r\n\r\n`);
  const program: Program = {
    path: url,
    write: (stream, text) => socket.write(frame(binary, Buffer.concat([Buffer.of(stream), Buffer.from(text)]))),
    end: (how) => (how === "close" ? socket.write(frame(closing, Buffer.alloc(0))) : socket.destroy()),
  };
  let bytes = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    for (let read = unframe(bytes); read !== undefined; read = unframe(bytes)) {
      bytes = bytes.subarray(read.len);
      if (read.opcode === closing) socket.end(frame(closing, Buffer.alloc(0)));
      if (read.opcode === binary && read.payload[0] === 0)
        onLine(read.payload.subarray(1).toString().trimEnd(), program);
    }
  });
}

/** An unmasked frame, as servers send them. */
function frame(opcode: number, payload: Buffer): Buffer {
  const long = payload.length > 125;
  const head = Buffer.alloc(long ? 4 : 2);
  head[0] = 0x80 | opcode;
  head[1] = long ? 126 : payload.length;
  if (long) head.writeUInt16BE(payload.length, 2);
  return Buffer.concat([head, payload]);
}

/** The first frame of a client, masked and short; undefined where it is not whole yet. */
function unframe(bytes: Buffer): { opcode: number; payload: Buffer; len: number } | undefined {
  if (bytes.length < 6) return undefined;
  const payloadLen = (bytes[1] ?? 0) & 0x7f;
  const len = 6 + payloadLen;
  if (payloadLen > 125 || bytes.length < len) return undefined;
  const payload = Buffer.from(bytes.subarray(6, len).map((byte, at) => byte ^ (bytes[2 + (at % 4)] ?? 0)));
  return { opcode: (bytes[0] ?? 0) & 0xf, payload, len };
}
