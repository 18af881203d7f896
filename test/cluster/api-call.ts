// One call of the Kubernetes API as somebody: the status and the words of a server, for tests of what it lets whom do.

import { request } from "node:https";
import { text } from "node:stream/consumers";
import type { ControlPlane } from "./control-plane.ts";

export interface ApiCall {
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  path: string;
  /** Sent as JSON; a PATCH is a merge patch. */
  body?: object;
  /** A bearer token; the administrator's certificate if absent. */
  token?: string;
}

export interface ApiAnswer {
  status: number;
  /** The object, or a Status. */
  body: Record<string, unknown>;
  /** The message of a Status; "" where it is none. */
  message: string;
}

const answerWithinMs = 20_000;

/** Makes the call; rejects where no answer comes. */
export async function callApi(plane: ControlPlane, { method, path, body, token }: ApiCall): Promise<ApiAnswer> {
  const { ca, cert, key } = plane.credentials;
  const { promise, resolve, reject } = Promise.withResolvers<ApiAnswer>();
  const asked = request(
    {
      socketPath: plane.socket,
      servername: "localhost",
      agent: false,
      timeout: answerWithinMs,
      method,
      path,
      ca,
      ...(token === undefined ? { cert, key } : {}),
      headers: {
        accept: "application/json",
        "content-type": method === "PATCH" ? "application/merge-patch+json" : "application/json",
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
    },
    (response) => {
      text(response)
        .then((answer): ApiAnswer => {
          const parsed = JSON.parse(answer) as ApiAnswer["body"];
          const message = parsed["kind"] === "Status" ? String(parsed["message"]) : "";
          return { status: response.statusCode ?? 0, body: parsed, message };
        })
        .then(resolve, reject);
    },
  );
  asked.once("timeout", () => asked.destroy(new Error(`${method} ${path}: no answer within ${answerWithinMs} ms`)));
  asked.once("error", reject);
  asked.end(body === undefined ? undefined : JSON.stringify(body));
  return promise;
}
