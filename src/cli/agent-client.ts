// Asking the agent of this node: GET over its read-only unix socket.

import { request } from "node:http";
import { Fault } from "../base/fault.ts";

/** An agent answers from memory. */
const answerWaitMs = 5000;
const answerLenMax = 16 * 1024 * 1024;

/**
 * Gives the JSON that the agent answers for `path`, on a connection of its own: a kept one could be that of an agent that has ended.
 * @throws Fault "not-found" where no agent listens, "io-failure" where it does not answer well.
 */
export function askAgent(socketPath: string, path: string): Promise<unknown> {
  return new Promise((done, failed) => {
    const call = request({ socketPath, path, timeout: answerWaitMs, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      let length = 0;
      response.on("data", (chunk: Buffer) => {
        length += chunk.length;
        if (length > answerLenMax) call.destroy(new Error(`answer is longer than ${answerLenMax} bytes`));
        else chunks.push(chunk);
      });
      response.on("end", () => {
        try {
          if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}`);
          done(JSON.parse(Buffer.concat(chunks).toString("utf8")));
        } catch (cause) {
          failed(new Fault("io-failure", `the agent at ${socketPath} gave no usable answer for ${path}`, { cause }));
        }
      });
    });
    call.on("timeout", () => call.destroy(new Error(`no answer within ${answerWaitMs} ms`)));
    call.on("error", (cause) => failed(unreachableAgent(socketPath, cause)));
    call.end();
  });
}

function unreachableAgent(socketPath: string, cause: NodeJS.ErrnoException): Fault {
  if (cause.code === "ENOENT" || cause.code === "ECONNREFUSED") {
    return new Fault("not-found", `no agent answers at ${socketPath}; is it running here? --socket names another path`);
  }
  if (cause.code === "EACCES") return new Fault("io-failure", `no permission for ${socketPath}; run this as root`);
  return new Fault("io-failure", `cannot ask the agent at ${socketPath}`, { cause });
}
