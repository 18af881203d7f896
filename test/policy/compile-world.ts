// Small random policies in which packets and rules meet often: few addresses, few ports, three memberships.

import * as fc from "fast-check";
import { cidrOf } from "../../src/net/cidr.ts";
import { type Ip, parseIp } from "../../src/net/ip.ts";
import type {
  Layer,
  Member,
  MemberParts,
  MembershipKey,
  Memberships,
  NamedPort,
  Packet,
  Peer,
  PortMatch,
  Rule,
  Subject,
} from "../../src/policy/model.ts";

/** An address of a test, which must be one. */
export function ip(text: string): Ip {
  const parsed = parseIp(text);
  if (parsed === undefined) throw new Error(`${text} is no address`);
  return parsed;
}

/** A membership's key of a test: its digit, repeated. */
export function key(digit: string): MembershipKey {
  return digit.repeat(20) as MembershipKey; // oxlint-disable-line typescript/no-unsafe-type-assertion -- a key of a test
}

const addresses = [0, 1, 2, 3, 4, 5, 6, 7].flatMap((host) => [ip(`10.0.0.${host}`), ip(`fd00::${host}`)]);
const outside = [ip("0.0.0.0"), ip("255.255.255.255"), ip("8.8.8.8"), ip("2001:db8::1")];
const keys = ["a", "b", "c"].map(key);
const names = ["http", "dns"];
const portMax = 40;

const address = fc.constantFrom(...addresses);
const portProtocol = fc.constantFrom(6, 17, 132);
const port = fc.nat(portMax);
const namedPort: fc.Arbitrary<NamedPort> = fc.record({ name: fc.constantFrom(...names), protocol: portProtocol, port });
const member: fc.Arbitrary<Member> = fc.record({ address, ports: fc.array(namedPort, { maxLength: 3 }) });

const part = fc.array(member, { maxLength: 3 });
const entriesOf = (parts: fc.Arbitrary<MemberParts>): fc.Arbitrary<Memberships> =>
  fc
    .tuple(...keys.map((name) => fc.option(fc.tuple(fc.constant(name), parts), { freq: 5 })))
    .map((all) => new Map(all.filter((entry) => entry !== null)));

/** One of the keys may be missing: nobody has told of it. */
export const memberships: fc.Arbitrary<Memberships> = entriesOf(fc.array(part, { maxLength: 2 }));

/** One after the other: parts that both have are the same. */
export const twoMemberships: fc.Arbitrary<readonly [Memberships, Memberships]> = fc
  .array(part, { minLength: 1, maxLength: 5 })
  .chain((parts) => {
    const some = entriesOf(fc.subarray(parts));
    return fc.tuple(some, some);
  });

/** Networks around the addresses, from the whole family down to one of them. */
const block = fc.tuple(address, fc.constantFrom(0, 1, 2, 3, 3, 4, 99)).map(([base, hostBits]) => {
  const bits = base.includes(":") ? 128 : 32;
  return cidrOf(base, hostBits === 99 ? 0 : bits - hostBits);
});
const peer: fc.Arbitrary<Peer> = fc.oneof(
  fc.record({ block, except: fc.array(block, { maxLength: 3 }) }),
  fc.record({ members: fc.constantFrom(...keys) }),
);
const portMatch: fc.Arbitrary<PortMatch> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .record({ protocol: portProtocol, first: port, last: port })
      .map(({ protocol, first, last }) => ({ protocol, first: Math.min(first, last), last: Math.max(first, last) })),
  },
  {
    weight: 4,
    arbitrary: fc
      .record({ protocol: portProtocol, port })
      .map(({ protocol, port: one }) => ({ protocol, first: one, last: one })),
  },
  fc.record({ protocol: fc.constantFrom(1, 6, 17, 47, 58) }),
  fc.record({ protocol: fc.constantFrom(1, 58), type: fc.nat(3) }),
  fc.record({ protocol: fc.constantFrom(1, 58), type: fc.nat(3), code: fc.nat(2) }),
  { weight: 2, arbitrary: fc.record({ protocol: portProtocol, peerPort: fc.constantFrom(...names) }) },
);
const rule: fc.Arbitrary<Rule> = fc.record({
  from: fc.constant("a rule"),
  ports: fc.array(portMatch, { maxLength: 3 }),
  peers: fc.oneof({ weight: 6, arbitrary: fc.array(peer, { minLength: 1, maxLength: 3 }) }, fc.constant([])),
});

/** Of this kind; `id` is what the rules are, so that layers with equal ids are equal. */
export function layer(kind: Layer["kind"], direction: Layer["direction"]): fc.Arbitrary<Layer> {
  return fc
    .record({ rules: fc.array(rule, { maxLength: 5 }), otherwise: fc.constantFrom("deny", "audit") })
    .map(({ rules, otherwise }): Layer => ({
      kind,
      direction,
      id: `${kind} ${direction} ${otherwise} ${JSON.stringify(rules)}`,
      objects: [`${kind} a`],
      otherwise,
      rules,
    }));
}

/** Source and destination are of one family. */
export const packet: fc.Arbitrary<Packet> = fc
  .tuple(
    fc.oneof({ weight: 6, arbitrary: address }, fc.constantFrom(...outside)),
    fc.oneof({ weight: 6, arbitrary: address }, fc.constantFrom(...outside)),
    fc.constantFrom(6, 6, 17, 17, 132, 1, 58, 47),
    port,
    fc.record({ type: fc.nat(3), code: fc.nat(2) }),
  )
  .filter(([source, destination]) => source.includes(":") === destination.includes(":"))
  .map(([source, destination, protocol, destinationPort, icmp]) => {
    if (protocol === 1 || protocol === 58) return { source, destination, protocol, icmp };
    return protocol === 47 ? { source, destination, protocol } : { source, destination, protocol, destinationPort };
  });

export const anyLayer: fc.Arbitrary<Layer> = fc.oneof(
  layer("networkPolicy", "egress"),
  layer("networkPolicy", "ingress"),
  layer("groups", "egress"),
  layer("groups", "ingress"),
);

/**
 * Up to three pods of a node, each with an address of either family; no two have one address. Of each kind and direction there are two
 * layers that pods may share; ids are always the same, so that two such lists are the same objects before and after an edit.
 */
export function subjectsOn(node: string): fc.Arbitrary<Subject[]> {
  const pool = fc.tuple(
    ...kinds.map((kind) => fc.tuple(...directions.map((direction) => pair(layer(kind, direction))))),
  );
  const choice = fc.constantFrom(undefined, 0, 0, 1, 1);
  const choices = fc.tuple(pair(choice), pair(choice));
  return fc.tuple(pool, fc.array(choices, { minLength: 1, maxLength: 3 })).map(([layers, pods]) =>
    pods.map((chosen, index) => {
      const side = (at: 0 | 1): Layer[] =>
        kinds.flatMap((kind, kindAt) => {
          const pick = chosen[at][kindAt];
          const found = pick === undefined ? undefined : layers[kindAt]?.[at]?.[pick];
          return found === undefined ? [] : [{ ...found, id: `${kind} ${pick}` }];
        });
      return {
        egress: side(0),
        ingress: side(1),
        pod: {
          namespace: "shop",
          name: `pod-${index}`,
          uid: `uid-${index}`,
          node,
          addresses: addresses.slice(index * 2, index * 2 + 2),
        },
      };
    }),
  );
}

const kinds = ["networkPolicy", "groups"] as const;
const directions = ["egress", "ingress"] as const;

function pair<T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<[T, T]> {
  return fc.tuple(arbitrary, arbitrary);
}
