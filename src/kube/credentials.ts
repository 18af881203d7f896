// Tokens, certificates and authorities: read from their files, and anew when those change.

import { readFileSync, statSync } from "node:fs";
import { buildConnector } from "undici";
import { Fault } from "../base/fault.ts";
import type { KubeAddress, Text } from "./address.ts";

/** A token or a chain of certificates is a few thousand bytes. */
const fileLenMax = 1024 * 1024;

export interface Credentials {
  /** The header's value, of the token that its file holds now; undefined where there is no token. @throws Fault "kube-unauthorized" */
  authorization(): string | undefined;
  /** For undici: opens each connection with what the files hold at that time. */
  connector: ReturnType<typeof buildConnector>;
}

/** `connectMs`: how long a connection may take to be there, TLS included. Files are first read when they are needed. */
export function createCredentials(address: KubeAddress, connectMs: number): Credentials {
  const token = address.token === undefined ? undefined : createReader(address.token, "kube-unauthorized");
  return {
    authorization: () => {
      if (token === undefined) return undefined;
      const text = token().trim();
      if (/^[\x21-\x7e]+$/.test(text)) return `Bearer ${text}`;
      throw new Fault("kube-unauthorized", `the token${placeOf(address.token)} is empty or holds what no token holds`);
    },
    connector: createConnector(address, connectMs),
  };
}

const placeOf = (text: Text | undefined): string => (text !== undefined && "file" in text ? ` in ${text.file}` : "");

/** A connector that is made anew when a file changed, with the TLS sessions of the old one forgotten. */
function createConnector(address: KubeAddress, connectMs: number): ReturnType<typeof buildConnector> {
  const reader = (text: Text | undefined): (() => string | undefined) =>
    text === undefined ? () => undefined : createReader(text, "bad-config");
  const parts = [
    reader(address.ca),
    reader(address.clientCertificate?.certificate),
    reader(address.clientCertificate?.key),
  ];
  let made: { from: readonly (string | undefined)[]; connector: ReturnType<typeof buildConnector> } | undefined;
  const current = (): ReturnType<typeof buildConnector> => {
    const from = parts.map((read) => read());
    if (made?.from.every((text, index) => text === from[index])) return made.connector;
    const [ca, cert, key] = from;
    const connector = buildConnector({
      timeout: connectMs,
      allowH2: false,
      rejectUnauthorized: address.insecure !== true,
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(address.serverName === undefined ? {} : { servername: address.serverName }),
    });
    made = { from, connector };
    return connector;
  };
  return (options, callback) => {
    try {
      current()(options, callback);
    } catch (error) {
      callback(error instanceof Error ? error : new Error(String(error)), null);
    }
  };
}

/**
 * Gives a function that reads the text, from its file only where that is another than last time. A file that cannot be read
 * leaves the last text in use: it may be on its way to be replaced.
 */
function createReader(text: Text, code: "kube-unauthorized" | "bad-config"): () => string {
  if ("text" in text) return () => text.text;
  const { file } = text;
  let seen = "";
  let last: string | undefined;
  return () => {
    try {
      const { ino, mtimeMs, size } = statSync(file);
      if (size > fileLenMax) throw new Error(`it has ${size} bytes; at most ${fileLenMax} are read`);
      const mark = `${ino} ${mtimeMs} ${size}`;
      if (last === undefined || mark !== seen) {
        const read = readFileSync(file, "utf8");
        if (read.trim() === "" && last !== undefined) return last;
        last = read;
        seen = mark;
      }
      return last;
    } catch (cause) {
      if (last !== undefined) return last;
      throw new Fault(code, `${file} cannot be read`, { cause });
    }
  };
}
