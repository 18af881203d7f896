// A list in pages: bounded, and begun again where its continue token has expired.

import { Fault, isFault } from "../base/fault.ts";
import type { Kind, KubeObject, ListOptions } from "./contract.ts";
import type { Limits } from "./limits.ts";
import { collectionPath, member, selectionQuery } from "./path.ts";
import { nameOfCall, type Transport } from "./request.ts";

/**
 * Reads all pages, one at a time, and hands each raw object to `take`; `begin` is called before the first page, also when the
 * list has to begin again. Gives the version of the collection.
 */
export async function listPages(
  transport: Transport,
  limits: Limits,
  kind: Kind<KubeObject>,
  options: ListOptions,
  { begin, take }: { begin: () => void; take: (raw: unknown) => void },
): Promise<string> {
  for (let starts = 1; ; starts += 1) {
    begin();
    try {
      return await pages(transport, limits, kind, options, take);
    } catch (error) {
      if (!isFault(error, "kube-expired") || starts >= limits.listStartsMax || options.signal?.aborted) throw error;
    }
  }
}

async function pages(
  transport: Transport,
  limits: Limits,
  kind: Kind<KubeObject>,
  options: ListOptions,
  take: (raw: unknown) => void,
): Promise<string> {
  const path = collectionPath(kind, options.namespace);
  const what = nameOfCall({ method: "GET", path });
  let [next, len]: [string | undefined, number] = [undefined, limits.pageLen];
  let isAnyGood = options.consistency === "any";
  let read = 0; // full pages, or as many short ones as make one
  while (read < limits.listPagesMax) {
    let answer: unknown;
    try {
      answer = await transport.json({
        method: "GET",
        path,
        query: {
          ...selectionQuery(options),
          limit: String(len),
          continue: next,
          // A page that goes on is of the version that its token names; the server refuses a version beside it.
          resourceVersion: isAnyGood && next === undefined ? "0" : undefined,
        },
        signal: options.signal,
      });
    } catch (error) {
      if (!isTooLong(error) || (len === 1 && !isAnyGood)) throw error;
      // Whoever may write objects can make them long; an old answer may have come whole, whatever was asked for.
      [len, isAnyGood] = [Math.ceil(len / 2), false];
      continue;
    }
    const items = member(answer, "items");
    // Go writes a list without objects as null.
    if (!Array.isArray(items) && items !== null) throw new Fault("kube-answer", `${what}: the answer is no list`);
    for (const raw of items ?? []) take(raw);
    const metadata = member(answer, "metadata");
    const version = member(metadata, "resourceVersion");
    const token = member(metadata, "continue");
    if (typeof token === "string" && token !== "") next = token;
    else if (typeof version === "string" && version !== "" && version !== "0") return version;
    else throw new Fault("kube-answer", `${what}: the list has no resourceVersion`);
    read += len / limits.pageLen;
    len = Math.min(len * 2, limits.pageLen);
  }
  throw new Fault(
    "kube-answer",
    `${what}: the list has more than ${limits.listPagesMax} pages of ${limits.pageLen}; narrow the selection`,
  );
}

/** True for an answer beyond the bound of one. */
function isTooLong(error: unknown): boolean {
  return isFault(error, "kube-answer") && error.data["lenMax"] !== undefined;
}
