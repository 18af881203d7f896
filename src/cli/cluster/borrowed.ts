// Credentials that a program or an identity provider has to give (exec, auth-provider): fetched once by the official client library.

import type { RequestOptions } from "node:https";
import { Fault } from "../../base/fault.ts";
import type { KubeAddress } from "../../kube/address.ts";
import type { ChosenContext } from "./kubeconfig-file.ts";
import { isPlain, openAccess } from "./library.ts";

/** Keys of a kubeconfig's user that the library knows how to follow and our own reader does not. */
export const borrowedKeys: ReadonlySet<string> = new Set(["exec", "auth-provider"]);

/**
 * The address of a context whose user needs such a program. Only people's tools call this: nothing is loaded where a file has
 * certificates or tokens.
 * @throws Fault "not-found" where the library is not installed, "kube-unauthorized" where the program gives nothing
 */
export async function borrowedAddress(chosen: ChosenContext): Promise<KubeAddress> {
  const { file, context } = chosen;
  const what = `${file} gets its credentials from a program`;
  const { config, credentials: given } = await openAccess(chosen, what, "give a token or certificate");
  const cluster = config.getCurrentCluster();
  if (cluster === null) throw new Fault("bad-config", `${file}: the cluster of context ${context} is not there`);
  const token = bearerOf(given);
  const [ca, certificate, key] = [textOf(given.ca), textOf(given.cert), textOf(given.key)];
  if (token === undefined && certificate === undefined) {
    throw new Fault("kube-unauthorized", `context ${context} in ${file} gave neither a token nor a certificate`);
  }
  return {
    server: cluster.server,
    ...(ca === undefined ? {} : { ca: { text: ca } }),
    ...(cluster.tlsServerName === undefined ? {} : { serverName: cluster.tlsServerName }),
    ...(cluster.skipTLSVerify && !isPlain(cluster) ? { insecure: true } : {}),
    ...(token === undefined ? {} : { token: { text: token } }),
    ...(certificate === undefined || key === undefined
      ? {}
      : { clientCertificate: { certificate: { text: certificate }, key: { text: key } } }),
  };
}

function bearerOf({ headers }: RequestOptions): string | undefined {
  if (headers === undefined || Array.isArray(headers)) return undefined;
  const value = Object.entries(headers).find(([name]) => name.toLowerCase() === "authorization")?.[1];
  return typeof value === "string" && value.startsWith("Bearer ") ? value.slice("Bearer ".length) : undefined;
}

/** PEM as the library gives it: text or bytes. */
function textOf(value: unknown): string | undefined {
  if (typeof value === "string" && value !== "") return value;
  return value instanceof Uint8Array ? Buffer.from(value).toString() : undefined;
}
