// What a request is about: the words of its path and query, as the API server reads them.

import type { Registry } from "./registry.ts";
import type { Resource } from "./resource.ts";
import { methodNotAllowed, NoSuchPath } from "./status.ts";

export type Verb = "get" | "list" | "watch" | "create" | "update" | "patch" | "delete" | "deletecollection";

export interface Route {
  verb: Verb;
  resource: Resource;
  namespace?: string | undefined;
  /** Absent for collections. */
  name?: string | undefined;
  subresource?: string | undefined;
  query: URLSearchParams;
}

const isTrue = (text: string | null): boolean => text !== null && text !== "0" && text !== "false";

const verbsOfObject: Readonly<Record<string, Verb>> = { GET: "get", PUT: "update", PATCH: "patch", DELETE: "delete" };

/** @throws Refusal 404 for a path or kind that is not there, 405 for a method that it does not take */
export function readRoute(registry: Registry, method: string, url: URL): Route {
  const parts = url.pathname
    .split("/")
    .filter((part) => part !== "")
    .map(decoded);
  const [root, ...rest] = parts;
  if (root === "api") return resourceRoute(registry, method, url.searchParams, "", rest);
  if (root === "apis") return resourceRoute(registry, method, url.searchParams, rest[0] ?? "", rest.slice(1));
  throw new NoSuchPath();
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new NoSuchPath();
  }
}

function resourceRoute(
  registry: Registry,
  method: string,
  query: URLSearchParams,
  group: string,
  [version = "", ...words]: readonly string[],
): Route {
  const inNamespace = words[0] === "namespaces" && words.length >= 3 && !(group === "" && isOfNamespace(words));
  const namespace = inNamespace ? words[1] : undefined;
  const [plural = "", name, subresource, ...more] = inNamespace ? words.slice(2) : words;
  const resource = registry.find(group, version, plural);
  if (resource === undefined || more.length > 0) throw new NoSuchPath();
  // A kind of a namespace can be listed over all of them, and that alone.
  if (namespace !== undefined && !resource.namespaced) throw new NoSuchPath();
  if (resource.namespaced && namespace === undefined && name !== undefined) throw new NoSuchPath();
  const route = { resource, namespace, query };
  if (name !== undefined) {
    const verb = subresource !== undefined && method === "POST" ? "create" : verbsOfObject[method];
    if (verb === undefined) throw methodNotAllowed();
    return { ...route, verb, name, subresource };
  }
  if (method === "GET") return { ...route, verb: isTrue(query.get("watch")) ? "watch" : "list" };
  if (method === "DELETE") return { ...route, verb: "deletecollection" };
  if (method === "POST" && (namespace !== undefined || !resource.namespaced)) return { ...route, verb: "create" };
  throw methodNotAllowed();
}

/** /namespaces/NAME/status and /namespaces/NAME/finalize are about the namespace itself. */
const isOfNamespace = (words: readonly string[]): boolean =>
  words.length === 3 && (words[2] === "status" || words[2] === "finalize");
