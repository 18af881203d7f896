// Names, labels and annotations: what the server lets them be (apimachinery/pkg/util/validation and api/validation).

import { type Cause, wrong } from "./status.ts";
import { type Json, type JsonObject, at, isObject, listAt, textAt } from "./value.ts";

const nameLenMax = 253;
const labelLenMax = 63;
/** All annotations of an object together, keys and values. */
const annotationsSizeMaxBytes = 256 * 1024;

const subdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const dnsLabel = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const qualifiedName = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const labelValue = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;

const subdomainWords =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const dnsLabelWords =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
export const labelValueWords =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
export const qualifiedWords =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

export const isLabelValue = (text: string): boolean => text.length <= labelLenMax && labelValue.test(text);

/** A qualified name: "app", "example.com/app". */
export function isLabelKey(text: string): boolean {
  const parts = text.split("/");
  const name = parts.pop() ?? "";
  const [prefix] = parts;
  if (parts.length > 1 || name.length > labelLenMax || !qualifiedName.test(name)) return false;
  return prefix === undefined || (prefix.length <= nameLenMax && subdomain.test(prefix));
}

/** Kinds whose names are DNS labels; names in rbac only have to fit a path. */
const labelNamed = new Set(["Namespace", "Service"]);
const pathNamed = "rbac.authorization.k8s.io";

/** What is wrong with the name of a new object. */
function nameCauses({ kind, group }: { kind: string; group: string }, name: string): Cause[] {
  const field = "metadata.name";
  if (name === "") return [wrong.missing(field, "name or generateName is required")];
  if (group === pathNamed)
    return /[/%]/.test(name) || name === "." || name === ".."
      ? [wrong.value(field, name, "may not contain '/' or '%'")]
      : [];
  const short = labelNamed.has(kind);
  const lenMax = short ? labelLenMax : nameLenMax;
  if (name.length > lenMax) return [wrong.value(field, name, `must be no more than ${lenMax} bytes`)];
  if ((short ? dnsLabel : subdomain).test(name)) return [];
  return [wrong.value(field, name, short ? dnsLabelWords : subdomainWords)];
}

function labelCauses(metadata: JsonObject): Cause[] {
  return Object.entries(at(metadata, "labels") ?? {}).flatMap(([key, value]: [string, Json]) => {
    if (!isLabelKey(key)) return [wrong.value("metadata.labels", key, qualifiedWords)];
    if (typeof value !== "string" || !isLabelValue(value))
      return [
        wrong.value(
          "metadata.labels",
          value,
          typeof value === "string" && value.length > labelLenMax
            ? `must be no more than ${labelLenMax} bytes`
            : labelValueWords,
        ),
      ];
    return [];
  });
}

function annotationCauses(metadata: JsonObject): Cause[] {
  const field = "metadata.annotations";
  const entries = Object.entries(at(metadata, "annotations") ?? {});
  const causes = entries.flatMap(([key]) =>
    isLabelKey(key.toLowerCase()) ? [] : [wrong.value(field, key, qualifiedWords)],
  );
  const bytes = entries.reduce(
    (sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(String(value)),
    0,
  );
  return bytes > annotationsSizeMaxBytes ? [...causes, wrong.tooLong(field, annotationsSizeMaxBytes)] : causes;
}

function ownerCauses(metadata: JsonObject): Cause[] {
  const causes: Cause[] = [];
  let controllers = 0;
  for (const owner of listAt(metadata, "ownerReferences")) {
    for (const part of ["apiVersion", "kind", "name", "uid"] as const) {
      if ((textAt(owner, part) ?? "") === "")
        causes.push(wrong.value(`metadata.ownerReferences.${part}`, at(owner, part) ?? "", "must not be empty"));
    }
    if (at(owner, "controller") === true) controllers += 1;
  }
  if (controllers > 1)
    causes.push(
      wrong.value("metadata.ownerReferences", controllers, "Only one reference can have Controller set to true"),
    );
  return causes;
}

/** What is wrong with an object's metadata; the name counts where the object is new. */
export function metadataCauses(what: { kind: string; group: string }, object: JsonObject, isNew: boolean): Cause[] {
  const metadata = object["metadata"];
  if (!isObject(metadata)) return [wrong.missing("metadata")];
  const finalizers = listAt(metadata, "finalizers").filter((each) => typeof each !== "string" || !isLabelKey(each));
  return [
    ...(isNew ? nameCauses(what, textAt(metadata, "name") ?? "") : []),
    ...labelCauses(metadata),
    ...annotationCauses(metadata),
    ...ownerCauses(metadata),
    ...finalizers.map((each) => wrong.value("metadata.finalizers", each, qualifiedWords)),
  ];
}
