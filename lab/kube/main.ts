// The API server as a program: main.ts CONFIG, a file in YAML. Descriptor 3, where it is open, is told when it serves.

import { closeSync, fstatSync, readFileSync, writeSync } from "node:fs";
import { z } from "zod";
import { parseConfig } from "../../src/base/config.ts";
import { createLog } from "../../src/base/log.ts";
import { startControl } from "./control.ts";
import { type ApiServerOptions, startApiServer } from "./server.ts";

const schema = z.strictObject({
  host: z.string().default("127.0.0.1"),
  port: z.int().min(0).max(65_535).default(0),
  /** Files in PEM. */
  tls: z.strictObject({ cert: z.string(), key: z.string(), clientCa: z.string().exactOptional() }).exactOptional(),
  anonymous: z.boolean().default(false),
  /** Bearer tokens, each with its user. */
  tokens: z
    .record(
      z.string().min(1),
      z.strictObject({
        name: z.string().min(1),
        groups: z.array(z.string()).default([]),
        extra: z.record(z.string(), z.array(z.string())).default({}),
      }),
    )
    .default({}),
  /** Where the objects are kept over a restart; only in memory without. */
  file: z.string().exactOptional(),
  /** A unix socket for commands. */
  control: z.string().exactOptional(),
  logRequests: z.boolean().default(false),
});

const [, , configFile = ""] = process.argv;
const config = parseConfig(schema, readFileSync(configFile, "utf8"), configFile);
const log = createLog("api-server", { fd: 1 });

const text = (file: string): string => readFileSync(file, "utf8");
const { tls } = config;
const options: ApiServerOptions = {
  host: config.host,
  port: config.port,
  anonymous: config.anonymous,
  tokens: new Map(Object.entries(config.tokens)),
  ...(config.file === undefined ? {} : { file: config.file }),
  ...(tls === undefined
    ? {}
    : {
        tls: {
          cert: text(tls.cert),
          key: text(tls.key),
          ...(tls.clientCa === undefined ? {} : { clientCa: text(tls.clientCa) }),
        },
      }),
  ...(config.logRequests ? { onRequest: (line) => log.info(line, "request") } : {}),
};
const server = await startApiServer(options);
const control = config.control === undefined ? undefined : await startControl(server, config.control);
log.info({ url: server.url }, "serving");
tellReady();

let stopping = false;
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.on(signal, () => {
    if (stopping) return;
    stopping = true;
    control?.close();
    control?.closeAllConnections();
    void server.close();
  });
}

/** "ready" on descriptor 3, which is then closed: how lab/daemon.ts waits for it. */
function tellReady(): void {
  try {
    if (fstatSync(3).isFIFO() || fstatSync(3).isSocket()) {
      writeSync(3, "ready\n");
      closeSync(3);
    }
  } catch {
    // Nobody waits.
  }
}
