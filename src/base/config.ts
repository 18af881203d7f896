// Configuration files: YAML text in, a frozen typed value out, or one Fault that names every wrong key by its path.

import { parseDocument } from "yaml";
import type { z } from "zod";
import { Fault } from "./fault.ts";

/** Configuration files are small; anything larger is a mistake. */
export const configSizeMaxBytes = 1024 * 1024;

/** How often one alias may be expanded: more is an attack, not a configuration. */
const aliasesMax = 10;

/** Problems listed in one message; the rest is counted. */
const problemsShownMax = 20;

/** What we take from the environment: where Kubernetes puts the address of its API in a container, and where a person's kubeconfig is. */
export function environment(
  name: "KUBERNETES_SERVICE_HOST" | "KUBERNETES_SERVICE_PORT" | "KUBECONFIG" | "HOME",
): string | undefined {
  return process.env[name];
}

/**
 * Parses `text` as YAML and checks it against `schema`.
 * `file` is only named in messages. Gives the parsed value, frozen to its depth.
 * @throws Fault "bad-config" with one line per problem, each beginning with the key's path.
 */
export function parseConfig<S extends z.ZodType>(schema: S, text: string, file: string): Readonly<z.output<S>> {
  if (Buffer.byteLength(text) > configSizeMaxBytes) {
    throw new Fault("bad-config", `${file} is larger than ${configSizeMaxBytes} bytes; is it the right file?`);
  }
  const document = parseDocument(text, { prettyErrors: true, uniqueKeys: true });
  const [error] = document.errors;
  if (error !== undefined) throw new Fault("bad-config", `${file} is not valid YAML: ${error.message}`);
  const parsed = schema.safeParse(toPlain(document, file) ?? {});
  if (!parsed.success) {
    const problems = parsed.error.issues.map(problemLine);
    const shown = problems.slice(0, problemsShownMax).join("\n  ");
    const more = problems.length > problemsShownMax ? `\n  and ${problems.length - problemsShownMax} more` : "";
    throw new Fault("bad-config", `${file} has ${problems.length} problem(s):\n  ${shown}${more}`, {
      data: { problems },
    });
  }
  return freeze(parsed.data);
}

function toPlain(document: ReturnType<typeof parseDocument>, file: string): unknown {
  try {
    return document.toJS({ maxAliasCount: aliasesMax });
  } catch (cause) {
    throw new Fault("bad-config", `${file} cannot be read as YAML`, { cause });
  }
}

function problemLine(issue: z.core.$ZodIssue): string {
  const path = pathText(issue.path);
  return `${path === "" ? "(top level)" : path}: ${problemWords(issue)}`;
}

/** What is wrong, in words. */
export function problemWords(issue: z.core.$ZodIssue): string {
  // What is not there at all is the commonest mistake, and deserves plainer words than its missing type.
  const missing = issue.code === "invalid_type" && issue.message.endsWith("received undefined");
  return missing ? "is missing" : issue.message;
}

/** "spec.ingress[0].ports"; "" for the whole. */
export function pathText(path: readonly PropertyKey[]): string {
  return path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`))
    .join("")
    .replace(/^\./, "");
}

function freeze<T>(value: T): Readonly<T> {
  if (typeof value === "object" && value !== null) {
    for (const member of Object.values(value)) freeze(member);
    Object.freeze(value);
  }
  return value;
}
