// Who calls: bearer tokens and client certificates to user names, so that agents can be told apart.

import { randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { TLSSocket } from "node:tls";
import { Fault } from "../../src/base/fault.ts";
import { Refusal } from "./status.ts";

/** Tokens that are valid at once. */
const tokensMax = 20_000;

/** A user as the API knows one (authentication.k8s.io/v1, UserInfo). */
export interface Caller {
  name: string;
  uid?: string | undefined;
  groups: readonly string[];
  extra: Readonly<Record<string, readonly string[]>>;
}

/** The extra that ties a service account's token to a node, since 1.30. */
export const nodeNameExtra = "authentication.kubernetes.io/node-name";
export const nodeUidExtra = "authentication.kubernetes.io/node-uid";

const authenticatedGroup = "system:authenticated";
const anonymous: Caller = { name: "system:anonymous", groups: ["system:unauthenticated"], extra: {} };

export interface TokenWish {
  name: string;
  uid?: string | undefined;
  groups?: readonly string[];
  extra?: Readonly<Record<string, readonly string[]>>;
  /** Absent: until revoked. */
  expiresInMs?: number;
}

export interface Callers {
  /** Gives a new bearer token for a user. */
  issue(wish: TokenWish): string;
  /** From now on the token is answered with 401. */
  revoke(token: string): void;
  /** @throws Refusal 401 */
  of(request: IncomingMessage): Caller;
}

/** `anonymous`: whether calls without any credential are let in, as "system:anonymous". `given`: tokens of a file. */
export function createCallers(options: { anonymous: boolean; given?: ReadonlyMap<string, TokenWish> }): Callers {
  const tokens = new Map<string, { caller: Caller; untilMs: number }>();

  function admit(token: string, { name, uid, groups = [], extra = {}, expiresInMs = Infinity }: TokenWish): void {
    for (const [each, { untilMs }] of tokens.size < tokensMax ? [] : tokens)
      if (untilMs <= Date.now()) tokens.delete(each);
    if (tokens.size >= tokensMax) throw new Fault("lab-failed", `${tokensMax} tokens are valid already; revoke some`);
    const all = groups.includes(authenticatedGroup) ? groups : [...groups, authenticatedGroup];
    tokens.set(token, { caller: { name, uid, groups: all, extra }, untilMs: Date.now() + expiresInMs });
  }
  for (const [token, wish] of options.given ?? []) admit(token, wish);

  return {
    issue: (wish) => {
      const token = randomBytes(24).toString("base64url");
      admit(token, wish);
      return token;
    },
    revoke: (token) => void tokens.delete(token),
    of: (request) => {
      const { authorization } = request.headers;
      if (authorization !== undefined) {
        const token = /^Bearer (\S+)$/i.exec(authorization)?.[1] ?? "";
        const found = tokens.get(token);
        if (found === undefined || found.untilMs <= Date.now()) throw unauthorized();
        return found.caller;
      }
      const certified = certificateCaller(request);
      if (certified !== undefined) return certified;
      if (!options.anonymous) throw unauthorized();
      return anonymous;
    },
  };
}

const unauthorized = (): Refusal => new Refusal(401, "Unauthorized", "Unauthorized");

/** The subject's common name is the user, its organisations are the groups. */
function certificateCaller({ socket }: IncomingMessage): Caller | undefined {
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const { subject } = socket.getPeerCertificate();
  // A session without a certificate gives an object without a subject, whatever its type says.
  if (subject?.CN === undefined) return undefined;
  const names: string | string[] = subject.CN;
  const organisations: string | string[] = subject.O ?? [];
  const [name = ""] = [names].flat();
  return { name, groups: [...[organisations].flat(), authenticatedGroup], extra: {} };
}
