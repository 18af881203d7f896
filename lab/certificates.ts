// The keys of a test cluster: one authority, a certificate for each program, kubeconfig files; made by openssl in the cluster's own directory.

import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { execOk } from "./exec.ts";
import type { Lab } from "./record.ts";

/** The cluster lives for hours, but may be looked at on the next day. */
const validDays = 30;

export interface Identity {
  /** The user, CN of the certificate. */
  user: string;
  /** The group, O of the certificate. */
  group?: string;
  /** Names and addresses under which it serves, as openssl writes them: "DNS:localhost", "IP:127.0.0.1". */
  serves?: readonly string[];
}

export interface KeyPair {
  certificate: string;
  key: string;
}

export interface Authority {
  /** Where all files lie. */
  directory: string;
  certificate: string;
  key: string;
  /** Makes a certificate for clients and servers; gives the paths of both files. */
  issue(name: string, identity: Identity): Promise<KeyPair>;
  /** The same, and a kubeconfig file with both inside; gives its path. */
  kubeconfig(name: string, identity: Identity, server: string): Promise<string>;
}

/** Makes an authority whose files lie in `directory`. */
export async function makeAuthority(lab: Lab, directory: string): Promise<Authority> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const path = (name: string): string => `${directory}/${name}`;

  async function request(name: string, text: string, signedBy: readonly string[]): Promise<KeyPair> {
    writeFileSync(path(`${name}.conf`), text, { mode: 0o600 });
    const pair = { certificate: path(`${name}.crt`), key: path(`${name}.key`) };
    await execOk(
      "openssl",
      [
        "req -x509 -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256".split(" "),
        ["-days", String(validDays), "-config", path(`${name}.conf`)],
        ["-keyout", pair.key, "-out", pair.certificate],
        signedBy,
      ].flat(),
      { env: lab.env },
    );
    return pair;
  }

  const authority = await request("ca", requestText({ user: "cluster" }, authorityExtensions), []);

  function issue(name: string, identity: Identity): Promise<KeyPair> {
    const signedBy = ["-CA", authority.certificate, "-CAkey", authority.key];
    return request(name, requestText(identity, extensions(identity)), signedBy);
  }

  return {
    directory,
    ...authority,
    issue,
    kubeconfig: async (name, identity, server) => {
      const pair = await issue(name, identity);
      const file = path(`${name}.kubeconfig`);
      writeFileSync(file, kubeconfigText(server, authority.certificate, pair), { mode: 0o600 });
      return file;
    },
  };
}

const authorityExtensions = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,digitalSignature"];

function extensions({ serves = [] }: Identity): string[] {
  return [
    "basicConstraints=critical,CA:FALSE",
    "keyUsage=critical,digitalSignature",
    "extendedKeyUsage=clientAuth,serverAuth",
    ...(serves.length === 0 ? [] : [`subjectAltName=${serves.join(",")}`]),
  ];
}

/** A request as `openssl req -config` reads it (req(1)). */
function requestText({ user, group }: Identity, lines: readonly string[]): string {
  const name = [...(group === undefined ? [] : [`O=${group}`]), `CN=${user}`];
  return `[req]\nprompt=no\ndistinguished_name=name\nx509_extensions=extensions\n[name]\n${name.join("\n")}\n[extensions]\n${lines.join("\n")}\n`;
}

/** Kubeconfig files may be JSON, as all YAML may; keys are put inside, so that a file works wherever it is copied. */
function kubeconfigText(server: string, authority: string, { certificate, key }: KeyPair): string {
  const data = (file: string): string => readFileSync(file).toString("base64");
  const name = "cluster";
  return JSON.stringify(
    {
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name, cluster: { server, "certificate-authority-data": data(authority) } }],
      users: [{ name, user: { "client-certificate-data": data(certificate), "client-key-data": data(key) } }],
      contexts: [{ name, context: { cluster: name, user: name } }],
      "current-context": name,
    },
    undefined,
    2,
  );
}

/** Makes the pair that signs the tokens of service accounts. */
export function makeTokenKeys(directory: string): { publicKey: string; privateKey: string } {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const files = { publicKey: `${directory}/tokens.pub`, privateKey: `${directory}/tokens.key` };
  writeFileSync(files.publicKey, publicKey.export({ type: "spki", format: "pem" }));
  writeFileSync(files.privateKey, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
  return files;
}
