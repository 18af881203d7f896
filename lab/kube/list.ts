// Lists: which objects, as of which version, and in pages that together show one moment.

import { type Resource, apiVersionOf, shelfOf } from "./resource.ts";
import {
  type FieldEquals,
  type SelectableFields,
  type Selector,
  everything,
  parseFieldSelector,
  parseLabelSelector,
} from "./selectors.ts";
import { type Cause, Refusal, badRequest, expired, invalid, tooLargeVersion, wrong } from "./status.ts";
import type { Store, Stored } from "./store.ts";
import { parseJson, numberAt, textAt } from "./value.ts";

export interface Selection {
  namespace: string | undefined;
  matches: Selector;
  /** Implied by `matches`. */
  equals?: FieldEquals | undefined;
}

export interface Page {
  version: number;
  items: readonly Stored[];
  /** Present where more follows. */
  continue?: string;
  remaining?: number;
}

/** What a list or watch selects. @throws Refusal 400 */
export function readSelection(query: URLSearchParams, resource: Resource, namespace: string | undefined): Selection {
  const byLabel = parseLabelSelector(query.get("labelSelector") ?? "");
  const fields: SelectableFields = resource.fields;
  const { matches: byField, equals } = parseFieldSelector(
    query.get("fieldSelector") ?? "",
    fields,
    resource.namespaced,
  );
  if (byLabel === everything) return { namespace, matches: byField, equals };
  if (byField === everything) return { namespace, matches: byLabel };
  return { namespace, matches: (object) => byField(object) && byLabel(object), equals };
}

export const selects = ({ namespace, matches }: Selection, { key, object }: Stored): boolean =>
  (namespace === undefined || key.startsWith(`${namespace}/`)) && matches(object);

/** What is wrong with the options of a list or watch (apimachinery, ValidateListOptions). @throws Refusal 422 */
export function checkListOptions(query: URLSearchParams, watches: boolean): void {
  const match = query.get("resourceVersionMatch") ?? "";
  const initial = query.get("sendInitialEvents");
  const causes: Cause[] = [];
  const forbid = (field: string, why: string): number => causes.push(wrong.forbidden(field, why));
  if (watches) {
    if (initial !== null && match !== "NotOlderThan")
      forbid("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
    if (match !== "" && initial === null)
      forbid(
        "resourceVersionMatch",
        "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
      );
    if (match !== "" && match !== "NotOlderThan")
      causes.push(wrong.unsupported("resourceVersionMatch", match, ["NotOlderThan"]));
  } else {
    if (match !== "" && (query.get("resourceVersion") ?? "") === "")
      forbid("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided");
    if (match !== "" && match !== "Exact" && match !== "NotOlderThan")
      causes.push(wrong.unsupported("resourceVersionMatch", match, ["Exact", "NotOlderThan", ""]));
    if (match === "Exact" && query.get("resourceVersion") === "0")
      forbid("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"');
    if (initial !== null) forbid("sendInitialEvents", "sendInitialEvents is forbidden for list");
  }
  if (match !== "" && (query.get("continue") ?? "") !== "")
    forbid("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided");
  if (causes.length > 0) throw invalid({ group: "meta.k8s.io", kind: "ListOptions" }, "", causes);
}

/** The version that a request names; undefined for none. @throws Refusal 400 */
export function readVersion(query: URLSearchParams): number | undefined {
  const text = query.get("resourceVersion") ?? "";
  if (text === "") return undefined;
  if (!/^\d{1,15}$/.test(text))
    throw badRequest(
      `Invalid value: ${JSON.stringify(text)}: strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`,
    );
  return Number(text);
}

function readLimit(query: URLSearchParams): number {
  const text = query.get("limit") ?? "";
  if (text === "") return 0;
  if (!/^-?\d{1,15}$/.test(text)) throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
  return Math.max(0, Number(text));
}

/** @throws Refusal: 400 and 422 for options that make no sense, 410 for a version or token that is compacted, 504 for one not reached */
export function list(store: Store, resource: Resource, namespace: string | undefined, query: URLSearchParams): Page {
  checkListOptions(query, false);
  const selection = readSelection(query, resource, namespace);
  const limit = readLimit(query);
  const wanted = readVersion(query);
  const token = query.get("continue") ?? "";
  const now = store.version();
  if (token !== "") {
    if (wanted !== undefined && wanted !== 0)
      throw badRequest("specifying resource version is not allowed when using continue");
    const from = readToken(token);
    // A token that goes on "now" has no moment of its own: it was handed out with a 410.
    return page(store, resource, { selection, limit, version: from.version ?? now, after: from.after });
  }
  if (wanted !== undefined && wanted > now) throw tooLargeVersion(wanted, now);
  const match = query.get("resourceVersionMatch") ?? "";
  const exact = match === "Exact" || (match === "" && limit > 0 && (wanted ?? 0) > 0);
  return page(store, resource, { selection, limit, version: exact ? (wanted ?? now) : now });
}

interface PageWish {
  selection: Selection;
  /** 0 = all. */
  limit: number;
  version: number;
  /** Key of the last object of the page before. */
  after?: string | undefined;
}

function page(store: Store, resource: Resource, { selection, limit, version, after }: PageWish): Page {
  const all = store.list(shelfOf(resource), version);
  if (all === undefined) throw expiredPage(after);
  const items: Stored[] = [];
  for (let index = after === undefined ? 0 : firstAfter(all, after); index < all.length; index += 1) {
    const each = all[index];
    if (each === undefined || !selects(selection, each)) continue;
    if (limit > 0 && items.length === limit) {
      const last = items.at(-1)?.key ?? "";
      const plain = selection.matches === everything && selection.namespace === undefined;
      return {
        version,
        items,
        continue: writeToken({ version, after: last }),
        // Counted only where nothing is selected, as the server does.
        ...(plain ? { remaining: all.length - index } : {}),
      };
    }
    items.push(each);
  }
  return { version, items };
}

function firstAfter(all: readonly Stored[], key: string): number {
  let low = 0;
  let high = all.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((all[middle]?.key ?? "") <= key) low = middle + 1;
    else high = middle;
  }
  return low;
}

interface Token {
  /** Absent: as of now. */
  version?: number | undefined;
  after: string;
}

const writeToken = ({ version, after }: Token): string =>
  Buffer.from(JSON.stringify({ v: "meta.k8s.io/v1", rv: version ?? -1, start: after })).toString("base64url");

function readToken(text: string): Token {
  try {
    const parsed = parseJson(Buffer.from(text, "base64url").toString());
    const [version, after] = [numberAt(parsed, "rv"), textAt(parsed, "start")];
    if (version !== undefined && after !== undefined) return { version: version < 0 ? undefined : version, after };
  } catch {
    // Said below, as for a token of another form.
  }
  throw badRequest("continue key is not valid");
}

/** A list whose moment is compacted. In the middle of one, the answer has a token that goes on as of now, no longer consistent. */
function expiredPage(after: string | undefined): Refusal {
  if (after === undefined) return expired("The resourceVersion for the provided list is too old.");
  const words =
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";
  return new ExpiredPage(words, writeToken({ after }));
}

/** 410 with the token to go on with in its metadata. */
export class ExpiredPage extends Refusal {
  readonly token: string;

  constructor(message: string, token: string) {
    super(410, "Expired", message);
    this.token = token;
  }

  override body(): ReturnType<Refusal["body"]> {
    return { ...super.body(), metadata: { continue: this.token } };
  }
}

const comma = Buffer.from(",");

/** A page as JSON of its list kind, of encodings that are there already. */
export function encodePage(resource: Resource, { version, items, continue: token, remaining }: Page): Buffer {
  const metadata = {
    resourceVersion: String(version),
    ...(token === undefined ? {} : { continue: token }),
    ...(remaining === undefined ? {} : { remainingItemCount: remaining }),
  };
  const head = JSON.stringify({ kind: resource.listKind, apiVersion: apiVersionOf(resource), metadata });
  const parts: Buffer[] = [Buffer.from(`${head.slice(0, -1)},"items":[`)];
  items.forEach((each, index) => {
    if (index > 0) parts.push(comma);
    parts.push(each.encoded());
  });
  parts.push(Buffer.from("]}"));
  return Buffer.concat(parts);
}
