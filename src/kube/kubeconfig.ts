// A kubeconfig file, as far as a daemon may follow it: servers, authorities, certificates and tokens; no programs to be run.

import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { z } from "zod";
import { parseConfig } from "../base/config.ts";
import { Fault } from "../base/fault.ts";
import { quote } from "../cni/quote.ts";
import type { KubeAddress, Text } from "./address.ts";

const fileSchema = z.looseObject({
  "current-context": z.string().default(""),
  clusters: z.array(z.looseObject({ name: z.string(), cluster: z.unknown() })).default([]),
  users: z.array(z.looseObject({ name: z.string(), user: z.unknown() })).default([]),
  contexts: z.array(z.looseObject({ name: z.string(), context: z.unknown() })).default([]),
});

const contextSchema = z.looseObject({ cluster: z.string(), user: z.string().default("") });

/** Extensions are other programs' notes, compression is only an offer; every other key would change what the file means. */
const clusterSchema = z.strictObject({
  server: z.string(),
  "certificate-authority": z.string().optional(),
  "certificate-authority-data": z.base64().optional(),
  "insecure-skip-tls-verify": z.boolean().default(false),
  "tls-server-name": z.string().optional(),
  "disable-compression": z.boolean().optional(),
  extensions: z.unknown().optional(),
});

const userSchema = z.strictObject({
  "client-certificate": z.string().optional(),
  "client-certificate-data": z.base64().optional(),
  "client-key": z.string().optional(),
  "client-key-data": z.base64().optional(),
  token: z.string().optional(),
  tokenFile: z.string().optional(),
  extensions: z.unknown().optional(),
});

export interface KubeconfigOptions {
  file: string;
  /** The file's own current context if absent. */
  context?: string;
  /** Instead of the cluster's. */
  server?: string;
  /** Follows insecure-skip-tls-verify; refused otherwise. */
  allowInsecure?: boolean;
}

/**
 * The address that a kubeconfig file gives.
 * @throws Fault "bad-config" naming the file and the key: missing, wrong, or one that this reader does not follow (exec, auth-provider,
 *   username, as, proxy-url); the latter are in `data.unfollowed`
 */
export function fromKubeconfig(options: KubeconfigOptions): KubeAddress {
  const { file } = options;
  const config = parseConfig(fileSchema, readText(file), file);
  const find = <S extends z.ZodType>(what: "cluster" | "user" | "context", name: string, schema: S): z.output<S> => {
    const found = config[`${what}s`].find((entry) => entry.name === name);
    if (found === undefined) throw new Fault("bad-config", `${file} has no ${what} ${quote(name)}`);
    return checked(schema, found[what], `${file}: ${what} ${quote(name)}`);
  };
  const context = find("context", options.context ?? config["current-context"], contextSchema);
  const cluster = find("cluster", context.cluster, clusterSchema);
  const user = context.user === "" ? {} : find("user", context.user, userSchema);
  const insecure = cluster["insecure-skip-tls-verify"];
  if (insecure && options.allowInsecure !== true) {
    throw new Fault(
      "bad-config",
      `${file}: cluster ${quote(context.cluster)} has insecure-skip-tls-verify, which trusts any server; give certificate-authority instead`,
    );
  }
  const ca = textOf(file, cluster["certificate-authority-data"], cluster["certificate-authority"]);
  const serverName = cluster["tls-server-name"];
  return {
    server: options.server ?? cluster.server,
    ...(ca === undefined ? {} : { ca }),
    ...(serverName === undefined ? {} : { serverName }),
    ...(insecure ? { insecure } : {}),
    ...userPart(file, context.user, user),
  };
}

function userPart(file: string, name: string, user: z.output<typeof userSchema>): Partial<KubeAddress> {
  const certificate = textOf(file, user["client-certificate-data"], user["client-certificate"]);
  const key = textOf(file, user["client-key-data"], user["client-key"]);
  if ((certificate === undefined) !== (key === undefined)) {
    throw new Fault("bad-config", `${file}: user ${quote(name)} has only one of client-certificate and client-key`);
  }
  // Of a file and a text the file is the newer: it is the one that something renews.
  const token: Text | undefined =
    user.tokenFile !== undefined
      ? { file: beside(file, user.tokenFile) }
      : user.token === undefined
        ? undefined
        : { text: user.token };
  return {
    ...(certificate === undefined || key === undefined ? {} : { clientCertificate: { certificate, key } }),
    ...(token === undefined ? {} : { token }),
  };
}

/** Data in the file itself goes before a path, as with kubectl. */
function textOf(file: string, data: string | undefined, path: string | undefined): Text | undefined {
  if (data !== undefined) return { text: Buffer.from(data, "base64").toString() };
  return path === undefined ? undefined : { file: beside(file, path) };
}

/** Paths in a kubeconfig file begin at its own directory. */
const beside = (file: string, path: string): string => resolve(dirname(file), path);

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    throw new Fault("bad-config", `${file} cannot be read`, { cause });
  }
}

function checked<S extends z.ZodType>(schema: S, value: unknown, at: string): z.output<S> {
  const parsed = schema.safeParse(value ?? {});
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues
    .slice(0, 8)
    .map((issue) =>
      issue.code === "unrecognized_keys"
        ? `${issue.keys.slice(0, 8).map(quote).join(", ")} is not followed here; give a certificate, token or tokenFile`
        : `${issue.path.join(".")}: ${issue.message}`,
    );
  const unfollowed = parsed.error.issues.flatMap((issue) => (issue.code === "unrecognized_keys" ? issue.keys : []));
  throw new Fault("bad-config", `${at}: ${problems.join("; ")}`, { data: { unfollowed } });
}
