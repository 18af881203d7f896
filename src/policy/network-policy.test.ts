// NetworkPolicy: what implementations get wrong, one test for each rule.

import assert from "node:assert/strict";
import { test } from "node:test";
import { assertWorld, shopPolicy } from "../../test/policy-world.ts";

const pods = {
  "shop/web": { labels: { app: "web" } },
  "shop/db": { labels: { app: "db", tier: "back" } },
  "shop/bare": {},
  "bank/web": { labels: { app: "web" } },
};

/** One policy for all pods of shop. */
const shop = (spec: string, lines: string): unknown => assertWorld({ pods, objects: shopPolicy(spec) }, lines);

test("a pod that no policy selects is open both ways", () => {
  assertWorld({ pods }, "yes bank/web > shop/db tcp 1\nyes shop/db > 8.8.8.8 icmp 8\nyes 8.8.8.8 > shop/db sctp 1");
});

test("a connection needs egress of its source and ingress of its target; each says nothing about the other", () => {
  const out = shopPolicy("policyTypes: [Egress]\negress: [{ to: [{ podSelector: {} }] }]", "out");
  const into = shopPolicy("policyTypes: [Ingress]\ningress: [{ from: [{ namespaceSelector: {} }] }]", "in");
  assertWorld({ pods, objects: out }, "yes bank/web > shop/db tcp 80\nno shop/db > bank/web tcp 80");
  assertWorld({ pods, objects: into }, "yes bank/web > shop/db tcp 80\nyes shop/db > bank/web tcp 80");
  assertWorld(
    { pods, objects: out + into },
    "yes shop/web > shop/db tcp 80\nno shop/db > bank/web tcp 80\nno 8.8.8.8 > shop/db tcp 80",
  );
});

test("policies only add: a second one that allows less takes nothing away", () => {
  const wide = shopPolicy("ingress: [{}]", "wide");
  const none = shopPolicy("ingress: []", "none");
  assertWorld({ pods, objects: wide + none }, "yes 8.8.8.8 > shop/db tcp 80");
});

test("policyTypes absent: ingress always, egress only with a rule for it", () => {
  shop("egress: []", "no 8.8.8.8 > shop/db tcp 80\nyes shop/db > 8.8.8.8 tcp 80");
  shop("ingress: []", "no 8.8.8.8 > shop/db tcp 80\nyes shop/db > 8.8.8.8 tcp 80");
  shop(
    "egress: [{ ports: [{ port: 53 }] }]",
    "no 8.8.8.8 > shop/db tcp 80\nno shop/db > 8.8.8.8 tcp 80\nyes shop/db > 8.8.8.8 tcp 53",
  );
});

test("policyTypes: [] is as absent, as the API server has it", () => {
  shop("policyTypes: []", "no 8.8.8.8 > shop/db tcp 80\nyes shop/db > 8.8.8.8 tcp 80");
});

test("policyTypes: [Egress] without egress denies all egress, and rules for a direction that it leaves out are nothing", () => {
  shop("policyTypes: [Egress]", "no shop/db > 8.8.8.8 tcp 80\nyes 8.8.8.8 > shop/db tcp 80");
  shop("policyTypes: [Egress]\ningress: []", "yes 8.8.8.8 > shop/db tcp 80");
  shop("policyTypes: [Ingress]\negress: [{ ports: [{ port: 53 }] }]", "yes shop/db > 8.8.8.8 tcp 80");
});

test("podSelector selects pods of the policy's own namespace only", () => {
  const objects = `
kind: NetworkPolicy
metadata: { namespace: shop, name: p }
spec: { podSelector: { matchLabels: { app: web } } }`;
  assertWorld(
    { pods, objects },
    "no 8.8.8.8 > shop/web tcp 80\nyes 8.8.8.8 > bank/web tcp 80\nyes 8.8.8.8 > shop/db tcp 80",
  );
});

test("from: [] and absent from are any peer, cluster-external too; ingress: [{}] allows all; ingress: [] none", () => {
  shop("ingress: [{ from: [] }]", "yes 8.8.8.8 > shop/db tcp 80\nyes bank/web > shop/db icmp 8");
  shop("ingress: [{ from: [], ports: [{ port: 80 }] }]", "yes 8.8.8.8 > shop/db tcp 80\nno 8.8.8.8 > shop/db tcp 81");
  shop("ingress: [{ ports: [] }]", "yes 8.8.8.8 > shop/db tcp 80");
  shop("ingress: [{}]", "yes 8.8.8.8 > shop/db tcp 80");
  shop("ingress: []", "no shop/web > shop/db tcp 80");
  shop("policyTypes: [Egress]\negress: [{ to: [] }]", "yes shop/db > 8.8.8.8 tcp 80");
});

test("namespaceSelector alone is every pod of the namespaces; {} is all namespaces, and nobody from outside", () => {
  shop(
    "ingress: [{ from: [{ namespaceSelector: {} }] }]",
    "yes bank/web > shop/db tcp 80\nyes shop/bare > shop/db tcp 80\nno 8.8.8.8 > shop/db tcp 80",
  );
});

test("podSelector: {} in a peer is every pod of the own namespace", () => {
  shop(
    "ingress: [{ from: [{ podSelector: {} }] }]",
    "yes shop/bare > shop/db tcp 80\nno bank/web > shop/db tcp 80\nno 8.8.8.8 > shop/db tcp 80",
  );
});

test("In, NotIn, Exists, DoesNotExist; NotIn also selects what lacks the label", () => {
  const from = (expression: string): string =>
    `ingress: [{ from: [{ podSelector: { matchExpressions: [${expression}] } }] }]`;
  shop(
    from("{ key: app, operator: In, values: [web, x] }"),
    "yes shop/web > shop/db tcp 80\nno shop/bare > shop/db tcp 80",
  );
  shop(
    from("{ key: app, operator: NotIn, values: [web] }"),
    "no shop/web > shop/db tcp 80\nyes shop/bare > shop/db tcp 80\nyes shop/db > shop/web tcp 80",
  );
  shop(from("{ key: tier, operator: Exists }"), "yes shop/db > shop/web tcp 80\nno shop/bare > shop/web tcp 80");
  shop(from("{ key: tier, operator: DoesNotExist }"), "no shop/db > shop/web tcp 80\nyes shop/bare > shop/web tcp 80");
  shop(
    "ingress: [{ from: [{ podSelector: { matchLabels: { app: db }, matchExpressions: [{ key: tier, operator: DoesNotExist }] } }] }]",
    "no shop/db > shop/web tcp 80",
  );
});

test("except is cut out of its own block only; another item or policy may still allow it", () => {
  const block = "{ ipBlock: { cidr: 8.0.0.0/8, except: [8.8.0.0/16] } }";
  shop(`ingress: [{ from: [${block}] }]`, "yes 8.9.0.1 > shop/db tcp 80\nno 8.8.0.1 > shop/db tcp 80");
  shop(`ingress: [{ from: [${block}, { ipBlock: { cidr: 8.8.0.1/32 } }] }]`, "yes 8.8.0.1 > shop/db tcp 80");
  assertWorld(
    {
      pods,
      objects: shopPolicy(`ingress: [{ from: [${block}] }]`) + shopPolicy("ingress: [{ ports: [{ port: 80 }] }]", "q"),
    },
    "yes 8.8.0.1 > shop/db tcp 80\nno 8.8.0.1 > shop/db tcp 81",
  );
});

test("an except that is its whole block leaves nothing, not everything", () => {
  shop(
    "ingress: [{ from: [{ ipBlock: { cidr: 8.8.0.0/16, except: [8.8.0.0/16] } }] }]",
    "no 8.8.0.1 > shop/db tcp 80\nno 1.1.1.1 > shop/db tcp 80",
  );
});

test("/0 and overlapping networks; each family by its own addresses", () => {
  shop(
    "ingress: [{ from: [{ ipBlock: { cidr: 0.0.0.0/0, except: [10.0.0.0/8, 10.0.0.0/16] } }] }]",
    "yes 8.8.8.8 > shop/db tcp 80\nno shop/web > shop/db tcp 80\nno 10.255.0.1 > shop/db tcp 80\nno shop/web@6 > shop/db@6 tcp 80",
  );
  shop(
    "ingress: [{ from: [{ ipBlock: { cidr: '::/0' } }] }]",
    "no 8.8.8.8 > shop/db tcp 80\nyes 2001:db8::1 > shop/db@6 tcp 80",
  );
  shop(
    "ingress: [{ from: [{ podSelector: { matchLabels: { app: web } } }] }]",
    "yes shop/web > shop/db tcp 80\nyes shop/web@6 > shop/db@6 tcp 80\nno shop/bare@6 > shop/db@6 tcp 80",
  );
});

test("an ipBlock may name pods by their addresses, too", () => {
  shop(
    "ingress: [{ from: [{ ipBlock: { cidr: 10.0.0.1/32 } }] }]",
    "yes shop/web > shop/db tcp 80\nno shop/bare > shop/db tcp 80",
  );
});

test("host bits of a network are masked away, as the API server lets them pass", () => {
  shop(
    "ingress: [{ from: [{ ipBlock: { cidr: 8.8.8.8/16, except: [8.8.4.4/24] } }] }]",
    "yes 8.8.0.1 > shop/db tcp 80\nno 8.8.4.1 > shop/db tcp 80\nno 8.9.0.1 > shop/db tcp 80",
  );
});

test("protocol absent is TCP; port absent is all ports of the protocol; TCP, UDP, SCTP", () => {
  const port = (entry: string): string => `ingress: [{ ports: [${entry}] }]`;
  shop(port("{ port: 80 }"), "yes 8.8.8.8 > shop/db tcp 80\nno 8.8.8.8 > shop/db udp 80\nno 8.8.8.8 > shop/db sctp 80");
  shop(
    port("{ protocol: UDP }"),
    "yes 8.8.8.8 > shop/db udp 1\nyes 8.8.8.8 > shop/db udp 65535\nno 8.8.8.8 > shop/db tcp 1",
  );
  shop(port("{}"), "yes 8.8.8.8 > shop/db tcp 1\nno 8.8.8.8 > shop/db udp 1\nno 8.8.8.8 > shop/db icmp 8");
  shop(port("{ protocol: SCTP, port: 80 }"), "yes 8.8.8.8 > shop/db sctp 80\nno 8.8.8.8 > shop/db tcp 80");
});

test("endPort is the last of the range", () => {
  shop(
    "ingress: [{ ports: [{ port: 80, endPort: 82 }] }]",
    "no 8.8.8.8 > shop/db tcp 79\nyes 8.8.8.8 > shop/db tcp 80\nyes 8.8.8.8 > shop/db tcp 82\nno 8.8.8.8 > shop/db tcp 83",
  );
  shop(
    "ingress: [{ ports: [{ port: 80, endPort: 80 }] }]",
    "yes 8.8.8.8 > shop/db tcp 80\nno 8.8.8.8 > shop/db tcp 81",
  );
});

const named = {
  "shop/one": { ports: { "http/tcp": 8080 } },
  "shop/two": { ports: { "http/tcp": 9090, "dns/udp": 53 } },
  "shop/three": { ports: { "http/udp": 8080 } },
  "bank/one": { ports: { "http/tcp": 7070 } },
};

test("named ports of ingress are those of the target itself: another number in each pod; name and protocol", () => {
  const objects = shopPolicy("ingress: [{ ports: [{ port: http }] }]");
  const world = assertWorld(
    { pods: named, objects },
    `
    yes 8.8.8.8 > shop/one tcp 8080
    no  8.8.8.8 > shop/one tcp 9090
    yes 8.8.8.8 > shop/two tcp 9090
    no  8.8.8.8 > shop/two tcp 8080
    no  8.8.8.8 > shop/three tcp 8080
    no  8.8.8.8 > shop/three udp 8080`,
  );
  const ids = world.model.subjects.map(({ ingress }) => ingress[0]?.id);
  assert.equal(ids[0], "ingress of NetworkPolicy shop/p with http/tcp=8080");
  assert.equal(ids[2], "ingress of NetworkPolicy shop/p with http/tcp=none");
  assert.equal(ids[3], undefined);
});

test("a port name that several containers of a pod use is each of their numbers", () => {
  assertWorld(
    {
      pods: { "shop/one": { ports: { "http/tcp": [8080, 9090] } } },
      objects: shopPolicy("ingress: [{ ports: [{ port: http }] }]"),
    },
    "yes 8.8.8.8 > shop/one tcp 8080\nyes 8.8.8.8 > shop/one tcp 9090\nno 8.8.8.8 > shop/one tcp 80",
  );
});

test("named ports of egress are those of the peer pod, hence none for an ipBlock", () => {
  const to = (peers: string): string =>
    shopPolicy(`policyTypes: [Egress]\negress: [{ to: [${peers}], ports: [{ port: http }] }]`);
  assertWorld(
    { pods: named, objects: to("{ namespaceSelector: {} }") },
    `
    yes shop/one > shop/two tcp 9090
    no  shop/one > shop/two tcp 8080
    yes shop/two > shop/one tcp 8080
    yes shop/one > bank/one tcp 7070
    no  shop/one > shop/three tcp 8080
    no  shop/one > shop/three udp 8080
    no  shop/one > shop/two udp 53
    no  shop/one > 8.8.8.8 tcp 8080`,
  );
  assertWorld({ pods: named, objects: to("{ ipBlock: { cidr: 0.0.0.0/0 } }") }, "no shop/one > shop/two tcp 9090");
});

test("a named port of egress to anybody is that of every pod, and a number beside it stays anybody's", () => {
  const objects = shopPolicy("policyTypes: [Egress]\negress: [{ ports: [{ port: http }, { port: 443 }] }]");
  assertWorld(
    { pods: named, objects },
    `
    yes shop/one > bank/one tcp 7070
    no  shop/one > bank/one tcp 7071
    yes shop/one > bank/one tcp 443
    yes shop/one > 8.8.8.8 tcp 443
    no  shop/one > 8.8.8.8 tcp 7070`,
  );
});

test("traffic between a pod and its own node always passes, both ways; other nodes are addresses like any", () => {
  shop(
    "policyTypes: [Ingress, Egress]",
    `
    yes 192.168.0.1 > shop/db tcp 80
    yes shop/db > 192.168.0.1 tcp 10250
    yes fd01::1 > shop/db@6 icmpv6 128
    no  192.168.0.2 > shop/db tcp 80
    no  shop/db > 192.168.0.2 tcp 10250`,
  );
});

test("a pod always reaches itself", () => {
  shop(
    "policyTypes: [Ingress, Egress]",
    "yes shop/db > shop/db tcp 80\nyes shop/db@6 > shop/db@6 udp 1\nno shop/db > shop/web tcp 80",
  );
});

test("pods on the host's network are no peers but by ipBlock", () => {
  const selected = shopPolicy("ingress: [{ from: [{ namespaceSelector: {} }] }]");
  assertWorld({ pods, objects: selected }, "no 192.168.0.2 > shop/db tcp 80");
  shop("ingress: [{ from: [{ ipBlock: { cidr: 192.168.0.2/32 } }] }]", "yes 192.168.0.2 > shop/db tcp 80");
});

test("a pod that has ended has no address, and is no member and no subject", () => {
  const ended = { ...pods, "shop/job": { labels: { app: "web" }, addresses: [] } };
  const world = assertWorld(
    { pods: ended, objects: shopPolicy("ingress: [{ from: [{ podSelector: { matchLabels: { app: web } } }] }]") },
    "no 10.0.0.5 > shop/db tcp 80",
  );
  assert.deepEqual(
    world.model.subjects.map(({ pod }) => pod.name),
    ["web", "db", "bare", "web"],
  );
});

test("ICMP is denied with the rest for an isolated pod, never neighbour discovery", () => {
  shop(
    "policyTypes: [Ingress, Egress]\ningress: [{ ports: [{ port: 80 }] }]",
    `
    no  8.8.8.8 > shop/db icmp 8
    no  shop/web@6 > shop/db@6 icmpv6 128
    no  shop/web@6 > shop/db@6 icmpv6 132
    yes shop/web@6 > shop/db@6 icmpv6 133
    yes shop/web@6 > shop/db@6 icmpv6 135
    yes shop/db@6 > shop/web@6 icmpv6 136
    no  shop/web@6 > shop/db@6 icmpv6 137
    no  8.8.8.8 > shop/db icmp 135`,
  );
});

test("a packet neither of whose ends is a pod passes", () => {
  shop("policyTypes: [Ingress, Egress]", "yes 192.168.0.1 > 192.168.0.2 tcp 80");
});
