// The rule by which pods may ask for names whatever their groups say, where the agent's `policy.allowDns` wants it.

import { hostCidr } from "../net/cidr.ts";
import type { Resolvers } from "./keys.ts";
import { namespaceNamed, podsMembership } from "./membership.ts";
import type { Peer, Rule } from "./model.ts";
import { protocols } from "./port.ts";
import { type Problem, reporter } from "./problem.ts";
import type { Refer } from "./read-rules.ts";
import { canonicalSelector, nothing } from "./selector.ts";

/** As `Rule.from` and explanations name it. */
export const allowDnsKey = "policy.allowDns";

/** RFC 1035: messages go to port 53 by UDP, and by TCP where they are long. */
const dnsPort = 53;

/** Egress to the resolvers and nobody else. What a service's port becomes is what is judged: resolvers must listen on 53 themselves. */
export function dnsRule({ namespace, podLabels, addresses }: Resolvers, refer: Refer, problems: Problem[]): Rule {
  const report = reporter(allowDnsKey, problems);
  const pods = canonicalSelector({ matchLabels: podLabels }, `${allowDnsKey}.podLabels`, report) ?? nothing;
  const members = refer(podsMembership(namespaceNamed(namespace), pods));
  const outside = addresses.map((address): Peer => ({ block: hostCidr(address), except: [] }));
  const port = { first: dnsPort, last: dnsPort };
  return {
    from: allowDnsKey,
    ports: [
      { protocol: protocols.udp, ...port },
      { protocol: protocols.tcp, ...port },
    ],
    peers: [members, ...outside],
  };
}
