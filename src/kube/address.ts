// Where the API server is and how to prove who calls: an address, checked, from a pod's service account or from plain values.

import { join } from "node:path";
import { Fault } from "../base/fault.ts";
import { ipFamily, parseIp } from "../net/ip.ts";

/** A text, or the file that holds it: files are read anew when they change. */
export type Text = { text: string } | { file: string };

export interface KubeAddress {
  /** "https://10.0.0.1:443"; a path is put before every call's. http only to this machine, or with `insecure`. */
  server: string;
  /** PEM of whom to trust; the system's own authorities if absent. */
  ca?: Text;
  /** Whom the server's certificate must name, where that is not the host of `server`. */
  serverName?: string;
  /** Trusts any server, and sends credentials in the clear if `server` says http: for trials only. */
  insecure?: boolean;
  /** PEM. */
  clientCertificate?: { certificate: Text; key: Text };
  /** Bearer token. */
  token?: Text;
}

/** Where a pod finds its service account (kubernetes.io/docs/tasks/run-application/access-api-from-pod). */
const serviceAccountDirectory = "/var/run/secrets/kubernetes.io/serviceaccount";

export interface InCluster {
  /** Instead of the service's address: where no service address works yet. */
  server?: string;
  /** KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT of the pod's environment. */
  serviceHost?: string | undefined;
  servicePort?: string | undefined;
  /** Where token and ca.crt lie. */
  directory?: string;
}

/**
 * The address for a pod: server from the service's variables unless given, token and authority from the pod's files.
 * @throws Fault "bad-config" where no server is known
 */
export function inCluster({
  server,
  serviceHost,
  servicePort,
  directory = serviceAccountDirectory,
}: InCluster): KubeAddress {
  const address = server ?? serviceServer(serviceHost, servicePort);
  return { server: address, ca: { file: join(directory, "ca.crt") }, token: { file: join(directory, "token") } };
}

function serviceServer(host = "", port = "443"): string {
  if (host === "") {
    throw new Fault(
      "bad-config",
      "no API server is known: KUBERNETES_SERVICE_HOST is not set, so this is no pod; name a server or a kubeconfig file",
    );
  }
  const ip = parseIp(host);
  return `https://${ip !== undefined && ipFamily(ip) === 6 ? `[${ip}]` : host}:${port}`;
}

/** The server's URL, checked. @throws Fault "bad-config" */
export function serverUrl({ server, insecure = false, token, clientCertificate }: KubeAddress): URL {
  const bad = (why: string): Fault => new Fault("bad-config", `the API server's address ${why}`);
  if (!URL.canParse(server)) throw bad(`${JSON.stringify(server)} is no URL such as https://10.0.0.1:443`);
  const url = new URL(server);
  if (url.username !== "" || url.password !== "") throw bad("holds a user or password; use a token or a certificate");
  if (url.search !== "" || url.hash !== "") throw bad(`${url.origin} has something after its path`);
  if (url.protocol === "https:") return url;
  if (url.protocol !== "http:") throw bad(`${url.origin} must begin with https://`);
  const secret = token !== undefined || clientCertificate !== undefined;
  if (secret && !insecure && !isLoopback(url.hostname)) {
    throw bad(`${url.origin} is not encrypted, and credentials would be sent in the clear; use https`);
  }
  return url;
}

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(hostname);
}
