// The small API server as a program: reads where to listen and whom to know from a JSON file, closes descriptor 3 once it serves.
//
// usage: node lab/kube/main.ts FILE, with {host, port, tls: {cert, key, clientCa}}, the three of them paths

import { closeSync, readFileSync, writeSync } from "node:fs";
import { z } from "zod";
import { readJson } from "../json.ts";
import { startApiServer } from "./server.ts";

const settingsSchema = z.strictObject({
  host: z.string(),
  port: z.int(),
  tls: z.strictObject({ cert: z.string(), key: z.string(), clientCa: z.string() }),
});

const readyFd = 3;

const [file = ""] = process.argv.slice(2);
const { host, port, tls } = readJson(settingsSchema, readFileSync(file, "utf8"), file);
const pem = (path: string): string => readFileSync(path, "utf8");
await startApiServer({
  host,
  port,
  tls: { cert: pem(tls.cert), key: pem(tls.key), clientCa: pem(tls.clientCa) },
  anonymous: false,
});
writeSync(readyFd, "ready\n");
closeSync(readyFd);
