// What ip-masq-agent's file says, as that program reads it, and the plan that follows from it: pure.

import { z } from "zod";
import { parseConfig } from "../base/config.ts";
import { Fault } from "../base/fault.ts";
import { type MasqueradePlan, masqueradeRangesMax, type PortRange } from "../kernel/contract.ts";
import { type Cidr, cidrBase, cidrContains, cidrFamily, cidrPrefix, parseCidr } from "../net/cidr.ts";
import { ipToNumber } from "../net/ip.ts";
import { cidr } from "../net/schema.ts";

/** What the agent's own configuration says beside the file: flags of ip-masq-agent, in its words. */
export interface MasqueradeFlags {
  /** --enable-ipv6 */
  ipv6: boolean;
  /** --nomasq-all-reserved-ranges */
  nomasqAllReservedRanges: boolean;
  /** --to-ports */
  toPorts: readonly PortRange[];
  /** --random-fully */
  randomFully: boolean;
}

/** What the file says, its defaults filled in. */
export interface MasqueradeFile {
  nonMasqueradeCidrs: readonly Cidr[];
  masqLinkLocal: boolean;
  masqLinkLocalIpv6: boolean;
  /** How often it is read again. */
  resyncMs: number;
  /** Keys that ip-masq-agent does not know: it takes no notice of them, and a wrong spelling is among them. */
  unknownKeys: readonly string[];
}

/** RFC 1918. */
const privateRanges = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"];
/** The other ranges that --nomasq-all-reserved-ranges stands for. */
const reservedRanges = [
  "100.64.0.0/10",
  "192.0.0.0/24",
  "192.0.2.0/24",
  "192.88.99.0/24",
  "198.18.0.0/15",
  "198.51.100.0/24",
  "203.0.113.0/24",
  "240.0.0.0/4",
];
const linkLocal = { 4: "169.254.0.0/16", 6: "fe80::/10" } as const;

/** Ranges that a file may have where it names no limit, and where it names a larger one. */
const cidrLimitDefault = 64;
const cidrLimitMax = 1024;
const resyncDefaultMs = 60_000;
/** The file is read no more often than that, whatever it says. */
export const resyncMinMs = 1000;

/** What holds where there is no file. */
export function defaultMasqueradeFile({
  nomasqAllReservedRanges,
}: Pick<MasqueradeFlags, "nomasqAllReservedRanges">): MasqueradeFile {
  const ranges = [...privateRanges, ...(nomasqAllReservedRanges ? reservedRanges : [])];
  return {
    nonMasqueradeCidrs: ranges.map(known),
    masqLinkLocal: false,
    masqLinkLocalIpv6: false,
    resyncMs: resyncDefaultMs,
    unknownKeys: [],
  };
}

const known = (text: string): Cidr => {
  const cidr = parseCidr(text);
  if (cidr === undefined) throw new Fault("bug", `${text} is no network`);
  return cidr;
};

/** What YAML 1.1 takes for true and false, since ip-masq-agent reads that. */
const words = { true: /^(y|yes|on|true)$/i, false: /^(n|no|off|false)$/i };
const flag = z.preprocess((value) => {
  if (typeof value !== "string") return value;
  return words.true.test(value) ? true : words.false.test(value) ? false : value;
}, z.boolean());

const interval = z.string("must be a time such as 60s or 1m30s").transform((text, context) => {
  const ms = durationMs(text);
  if (ms !== undefined) return ms;
  context.addIssue(`"${text}" is not a time such as 60s or 1m30s`);
  return z.NEVER;
});

const fileKeys = {
  nonMasqueradeCIDRs: z
    .array(cidr)
    .nullable() // a key without a value is an empty list there
    .transform((ranges) => ranges ?? [])
    .optional(),
  cidrLimit: z.int().min(0).default(cidrLimitDefault),
  masqLinkLocal: flag.default(false),
  masqLinkLocalIPv6: flag.default(false),
  resyncInterval: interval.default(resyncDefaultMs),
};

/** That program finds its keys in whatever case they are written. */
const byLowerCase = new Map(Object.keys(fileKeys).map((name) => [name.toLowerCase(), name]));

function inOurCase(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, held]) => [byLowerCase.get(key.toLowerCase()) ?? key, held]),
  );
}

const schemaFor = ({ ipv6 }: Pick<MasqueradeFlags, "ipv6">) =>
  z.preprocess(
    inOurCase,
    z.looseObject(fileKeys).superRefine(({ nonMasqueradeCIDRs = [], cidrLimit }, context) => {
      const limit = Math.min(cidrLimit, cidrLimitMax);
      const problem = (message: string, ...path: (string | number)[]) =>
        context.addIssue({ code: "custom", path, message });
      const { length } = nonMasqueradeCIDRs;
      if (length > limit) {
        const cure = limit < cidrLimitMax ? "; set cidrLimit, or use larger ranges" : "; use larger ranges";
        problem(`has ${length} ranges, and may have ${limit}${cure}`, "nonMasqueradeCIDRs");
      }
      for (const [index, cidr] of nonMasqueradeCIDRs.entries()) {
        if (ipv6 || cidrFamily(cidr) === 4) continue;
        problem(
          `${cidr} is IPv6, which is not masqueraded; set masquerade.ipv6 in the agent's configuration`,
          "nonMasqueradeCIDRs",
          index,
        );
      }
    }),
  );

/**
 * Reads the file as ip-masq-agent does: YAML or JSON, its own list in place of the default one. `file` is only named in messages.
 * @throws Fault "bad-config" with one line per problem
 */
export function parseMasqueradeFile(text: string, file: string, flags: MasqueradeFlags): MasqueradeFile {
  const parsed = parseConfig(schemaFor(flags), text, file);
  const { nonMasqueradeCIDRs, masqLinkLocal, masqLinkLocalIPv6, resyncInterval } = parsed;
  return {
    nonMasqueradeCidrs: nonMasqueradeCIDRs ?? defaultMasqueradeFile(flags).nonMasqueradeCidrs,
    masqLinkLocal,
    masqLinkLocalIpv6: masqLinkLocalIPv6,
    resyncMs: Math.max(resyncMinMs, resyncInterval),
    unknownKeys: Object.keys(parsed).filter((key) => !Object.hasOwn(fileKeys, key)),
  };
}

const unitMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** A time as Go's time.ParseDuration takes it, in ms; undefined where it would not. */
export function durationMs(text: string): number | undefined {
  const [, sign, rest = ""] = /^([-+]?)(.*)$/s.exec(text) ?? [];
  if (rest === "0") return 0;
  const part = String.raw`(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h)`;
  if (rest.length > 64 || !new RegExp(`^(?:${part})+$`).test(rest)) return undefined;
  const parts = rest.matchAll(/([\d.]+)([^\d.]+)/g);
  const ms = parts.reduce((sum, [, number, unit = ""]) => sum + Number(number) * (unitMs[unit] ?? NaN), 0);
  return sign === "-" ? -ms : ms;
}

/** Ranges of ports as `--to-ports` has them, such as "1024-29999,32768-65535"; undefined where the text is none. "" are none. */
export function parsePorts(text: string): PortRange[] | undefined {
  if (text === "") return [];
  const ranges = text.split(",").map((part): PortRange | undefined => {
    const [, first, last = first] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part) ?? [];
    const [from, to] = [Number(first), Number(last)];
    return from >= 1 && from <= to && to <= 65_535 ? { first: from, last: to } : undefined;
  });
  const found = ranges.filter((one) => one !== undefined);
  const inOrder = found.toSorted((a, b) => a.first - b.first);
  const overlap = inOrder.some(({ first }, index) => first <= (inOrder[index - 1]?.last ?? 0));
  return found.length < ranges.length || overlap ? undefined : found;
}

/** Pods of this node, and all ranges of pods that are known, this node's among them or not. */
export interface PodRanges {
  own: readonly Cidr[];
  all: readonly Cidr[];
}

/**
 * The plan: pods keep their addresses towards all pods and what the file names. A range within another is left out, so that a
 * node more in a range that is named changes nothing.
 * @throws Fault "bad-config" where that are too many ranges
 */
export function masqueradePlan(file: MasqueradeFile, flags: MasqueradeFlags, pods: PodRanges): MasqueradePlan {
  const served = (ranges: readonly Cidr[]): Cidr[] =>
    withoutContained(ranges.filter((cidr) => flags.ipv6 || cidrFamily(cidr) === 4));
  const from = served(pods.own);
  const keep = served([
    ...pods.own,
    ...pods.all,
    ...file.nonMasqueradeCidrs,
    ...(file.masqLinkLocal ? [] : [known(linkLocal[4])]),
    ...(file.masqLinkLocalIpv6 ? [] : [known(linkLocal[6])]),
  ]);
  if (from.length + keep.length > masqueradeRangesMax) {
    throw new Fault(
      "bad-config",
      `${from.length + keep.length} ranges are not to be masqueraded, and ${masqueradeRangesMax} can be; name the range that holds all pods in masquerade.podRanges`,
    );
  }
  return { from, keep, ports: flags.toPorts, randomFully: flags.randomFully };
}

/** In the order of their families and addresses. */
function withoutContained(ranges: readonly Cidr[]): Cidr[] {
  const keyed = ranges.map((cidr) => ({
    cidr,
    family: cidrFamily(cidr),
    base: ipToNumber(cidrBase(cidr)),
    prefix: cidrPrefix(cidr),
  }));
  const kept: Cidr[] = [];
  for (const { cidr } of keyed.toSorted(
    (a, b) => a.family - b.family || (a.base < b.base ? -1 : a.base > b.base ? 1 : a.prefix - b.prefix),
  )) {
    const last = kept.at(-1);
    if (last === undefined || !cidrContains(last, cidrBase(cidr))) kept.push(cidr);
  }
  return kept;
}
