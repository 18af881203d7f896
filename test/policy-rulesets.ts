// Small policy rulesets for tests of the kernel room, made by hand: what compiles them from objects is not asked.

import { type Cidr, parseCidr } from "../src/net/cidr.ts";
import { parseIp } from "../src/net/ip.ts";
import { present } from "../src/base/assert.ts";
import type { MembershipKey } from "../src/policy/model.ts";
import type {
  BlockSet,
  LayerChains,
  MemberElement,
  MemberSet,
  PolicyClass,
  PolicyRuleset,
} from "../src/policy/ruleset.ts";

export const [tcp, udp, sctp] = [6, 17, 132];

/** "10.0.0.1", or "10.0.0.1 tcp 80" for a set with ports. */
export function member(text: string): MemberElement {
  const [address = "", protocol, port] = text.split(" ");
  const element = { address: present(parseIp(address), address) };
  return protocol === undefined
    ? element
    : { ...element, protocol: protocol === "tcp" ? tcp : udp, port: Number(port) };
}

export function members(name: string, family: 4 | 6, ...elements: string[]): MemberSet {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- keys are compile's; the kernel room does not look at them
  const membership = name as MembershipKey;
  return { name, membership, family, parts: [elements.map(member)] };
}

export function namedPortMembers(name: string, family: 4 | 6, ...elements: string[]): MemberSet {
  return { ...members(name, family, ...elements), portName: "http", protocol: tcp };
}

export function blocks(name: string, ...networks: string[]): BlockSet {
  const cidrs = networks.map((text): Cidr => present(parseCidr(text), text));
  return { name, family: networks[0]?.includes(":") === true ? 6 : 4, blocks: cidrs };
}

export function layer(name: string, part: Partial<LayerChains>): LayerChains {
  return { name, direction: "egress", otherwise: "deny", ports: [], peerLists: [], rest: [], ...part };
}

export interface RulesetParts {
  classes?: Record<number, Partial<PolicyClass>>;
  layers?: readonly LayerChains[];
  memberSets?: readonly MemberSet[];
  blockSets?: readonly BlockSet[];
  links?: readonly string[];
}

export function ruleset({
  classes = {},
  layers = [],
  memberSets = [],
  blockSets = [],
  links = [],
}: RulesetParts): PolicyRuleset {
  const byName = <T extends { name: string }>(parts: readonly T[]) => new Map(parts.map((part) => [part.name, part]));
  return {
    classes: new Map(
      Object.entries(classes).map(([group, part]) => [Number(group), { egress: [], ingress: [], toNode: [], ...part }]),
    ),
    layers: byName(layers),
    memberSets: byName(memberSets),
    blockSets: byName(blockSets),
    links: new Set(links),
  };
}

/** No policy at all: what an agent loads when it starts. */
export const emptyRuleset = ruleset({});

/** Some of everything that a ruleset can say. */
export const fullRuleset = ruleset({
  classes: {
    101: {},
    102: { egress: ["np_web"] },
    103: { egress: ["np_web", "sg_out"], ingress: ["np_db"] },
    104: { ingress: ["np_db", "sg_in"], toNode: ["sg_out"] },
    105: { egress: ["np_web", "sg_out"], toNode: ["np_web", "sg_out"] },
  },
  layers: [
    layer("np_web", {
      ports: [
        { protocol: tcp, port: 8080, peers: 0 },
        { protocol: udp, port: 8080, peers: 0 },
        { protocol: tcp, port: 443, peers: "any" },
        { protocol: sctp, port: 5000, peers: 1 },
      ],
      peerLists: [
        [
          { family: 4, set: "m_db4" },
          { family: 6, set: "m_db6" },
        ],
        [{ family: 4, set: "b_out4" }],
      ],
      rest: [
        { peer: { family: 4, set: "m_http4", withPort: true } },
        { peer: { family: 6, set: "m_http6", withPort: true } },
        { protocol: tcp, ports: { first: 1000, last: 2000 }, peer: { family: 6, set: "b_out6" } },
      ],
    }),
    layer("np_db", {
      direction: "ingress",
      rest: [
        { protocol: tcp, ports: { first: 5432, last: 5432 }, peer: { family: 4, set: "m_db4" } },
        { protocol: udp },
        { protocol: 1, icmp: { type: 8 }, peer: { family: 4, set: "m_db4" } },
        { protocol: 58, icmp: { type: 128, code: 0 } },
        { protocol: 47, peer: { family: 6, set: "m_db6" } },
      ],
    }),
    layer("sg_out", { otherwise: "audit", ports: [{ protocol: udp, port: 53, peers: "any" }] }),
    layer("sg_in", {
      direction: "ingress",
      ports: [{ protocol: tcp, port: 5432, peers: 0 }],
      peerLists: [[{ family: 4, set: "b_out4" }]],
    }),
  ],
  memberSets: [
    members("m_db4", 4, "10.4.1.3", "10.4.1.4"),
    members("m_db6", 6, "fd00:10:4:1::3"),
    namedPortMembers("m_http4", 4, "10.4.1.3 tcp 8080", "10.4.1.4 tcp 80"),
    namedPortMembers("m_http6", 6),
  ],
  blockSets: [
    blocks("b_out4", "203.0.113.0/24", "198.51.100.0/25", "10.0.0.0/8"),
    blocks("b_out6", "2001:db8::/32", "fd00::/8"),
  ],
  links: ["fl1", "fl2"],
});
