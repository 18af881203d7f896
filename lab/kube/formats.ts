// The formats of strings that a schema can ask for (kube-openapi/pkg/validation/strfmt); others ask for nothing.

import { parseInterfaceAddress } from "../../src/net/cidr.ts";
import { ipFamily, parseIp } from "../../src/net/ip.ts";

const family = (text: string): 4 | 6 | undefined => {
  const ip = parseIp(text);
  return ip === undefined ? undefined : ipFamily(ip);
};

const dateTime = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)$/;
const isTime = (text: string): boolean => !Number.isNaN(Date.parse(text));

const formats: Readonly<Record<string, (text: string) => boolean>> = {
  ipv4: (text) => family(text) === 4,
  ipv6: (text) => family(text) === 6,
  cidr: (text) => parseInterfaceAddress(text) !== undefined,
  "date-time": (text) => dateTime.test(text) && isTime(text),
  date: (text) => /^\d{4}-\d\d-\d\d$/.test(text) && isTime(text),
  mac: (text) => /^(?:[0-9a-fA-F]{2}([:-]))(?:[0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}$/.test(text),
  uuid: (text) => /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i.test(text),
  byte: (text) => /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text),
  hostname: (text) =>
    text.length <= 253 &&
    /^[A-Za-z0-9](?:[-A-Za-z0-9]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[-A-Za-z0-9]*[A-Za-z0-9])?)*$/.test(text),
};

/** True where `text` has the format, or the format is none that is checked. */
export const isFormat = (format: string, text: string): boolean => formats[format]?.(text) ?? true;
