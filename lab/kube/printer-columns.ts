// additionalPrinterColumns of a CustomResourceDefinition: the part of JSONPath that they use, and cells from it.

import { age } from "./age.ts";
import type { Column } from "./resource.ts";
import { type Json, type JsonObject, isObject, numberAt, textAt } from "./value.ts";

/** One step of a path; each turns values into values. */
type Step = (value: Json) => Json[];

const stepPattern = /\.([A-Za-z_][\w-]*|\*)|\[(\d+|\*)\]|\['([^']+)'\]|\[\?\(@\.([\w.-]+)\s*==\s*["']([^"']*)["']\)\]/y;

const fieldStep =
  (name: string): Step =>
  (value) => {
    const found = isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
    return found === undefined ? [] : [found];
  };

const each: Step = (value) => (Array.isArray(value) ? value : isObject(value) ? Object.values(value) : []);

/** Reads ".status.conditions[?(@.type=="Ready")].status"; undefined for what is not understood. */
export function readJsonPath(text: string): ((object: Json) => Json[]) | undefined {
  const steps: Step[] = [];
  const inner = text.replace(/^\{(.*)\}$/, "$1");
  stepPattern.lastIndex = 0;
  while (stepPattern.lastIndex < inner.length) {
    const match = stepPattern.exec(inner);
    if (match === null) return undefined;
    const [, name, index, quoted, path, wanted = ""] = match;
    if (name === "*" || index === "*") steps.push(each);
    else if (index !== undefined)
      steps.push((value) => (Array.isArray(value) ? value.slice(Number(index), Number(index) + 1) : []));
    else if (path !== undefined)
      steps.push((value) => each(value).filter((item) => textAt(item, ...path.split(".")) === wanted));
    else steps.push(fieldStep(name ?? quoted ?? ""));
  }
  return (object) => steps.reduce<Json[]>((values, step) => values.flatMap(step), [object]);
}

function cell(value: Json | undefined, type: string): string | number | boolean {
  if (value === undefined || value === null) return "";
  if (type === "date") return age(typeof value === "string" ? value : undefined);
  return typeof value === "object" ? JSON.stringify(value) : value;
}

/** Columns whose path cannot be read stay empty, as on the real server. */
export function printerColumns(raw: readonly Json[]): Column[] {
  return raw.map((one) => {
    const [name = "", type = "string", path = ""] = ["name", "type", "jsonPath"].map((key) => textAt(one, key));
    const find = readJsonPath(path);
    return {
      name,
      type,
      description: textAt(one, "description") ?? "",
      priority: numberAt(one, "priority") ?? 0,
      cell: (object: JsonObject) => cell(find?.(object)[0], type),
    };
  });
}
