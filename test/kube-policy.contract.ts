// Kinds that say who may talk to whom: what an API server lets people write, of Kubernetes' own kind and of ours.

import assert from "node:assert/strict";
import { test } from "node:test";
import { definitionsOfOurs, kindOfAws } from "./controller/kinds.ts";
import { refused } from "./kube-objects.contract.ts";
import {
  type Obj,
  type Value,
  type Wire,
  look,
  madeForTest,
  nameOf,
  testNamespace,
  textOf,
  uniqueName,
} from "./kube-wire.ts";
import { until } from "./until.ts";

const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const apiVersion = "fairlead.dev/v1alpha1";
const ours = `/apis/${apiVersion}`;

/** Specs that are refused, each with words of the refusal. */
type Refusals = readonly (readonly [spec: Obj, words: RegExp])[];

export const policiesRefused: Refusals = [
  [{ ingress: [{ from: [{}] }] }, /spec\.ingress\[0\]\.from\[0\]: Required value: must specify a peer/],
  [
    { egress: [{ to: [{ podSelector: {}, ipBlock: { cidr: "10.0.0.0/8" } }] }] },
    /spec\.egress\[0\]\.to\[0\]: Forbidden: may not specify both ipBlock and another peer/,
  ],
  [{ ingress: [{ from: [{ ipBlock: { cidr: "" } }] }] }, /ipBlock\.cidr: Required value/],
  [{ ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0" } }] }] }, /ipBlock\.cidr: Invalid value: "10\.0\.0\.0"/],
  [
    { ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["11.0.0.0/16"] } }] }] },
    /except\[0\]: Invalid value: "11\.0\.0\.0\/16": must be a strict subset of `cidr`/,
  ],
  [
    { ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["10.0.0.0/8"] } }] }] },
    /must be a strict subset of `cidr`/,
  ],
  [
    { ingress: [{ ports: [{ port: 0 }] }] },
    /spec\.ingress\[0\]\.ports\[0\]\.port: Invalid value: 0: must be between 1/,
  ],
  [{ ingress: [{ ports: [{ port: "Web" }] }] }, /ports\[0\]\.port: Invalid value: "Web"/],
  [{ ingress: [{ ports: [{ port: 80, endPort: 79 }] }] }, /endPort: Invalid value: 80: must be greater than or equal/],
  [{ ingress: [{ ports: [{ port: "web", endPort: 90 }] }] }, /may not be specified when `port` is non-numeric/],
  [{ ingress: [{ ports: [{ endPort: 90 }] }] }, /may not be specified when `port` is not specified/],
  [{ ingress: [{ ports: [{ port: 80, protocol: "ICMP" }] }] }, /protocol: Unsupported value: "ICMP"/],
  [{ policyTypes: ["Both"] }, /policyTypes\[0\]: Unsupported value: "Both"/],
  [{ podSelector: { matchLabels: { a: "b c" } } }, /spec\.podSelector\.matchLabels: Invalid value: "b c"/],
  [
    { podSelector: { matchExpressions: [{ key: "a", operator: "In" }] } },
    /matchExpressions\[0\]\.values: Required value: must be specified when `operator` is 'In' or 'NotIn'/,
  ],
  [
    { podSelector: { matchExpressions: [{ key: "a", operator: "Exists", values: ["b"] }] } },
    /matchExpressions\[0\]\.values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'/,
  ],
  [
    { podSelector: { matchExpressions: [{ key: "a", operator: "Is" }] } },
    /matchExpressions\[0\]\.operator: Invalid value: "Is": not a valid selector operator/,
  ],
];

const everybody = { cidr: "0.0.0.0/0" };
const ingress = (rule: Obj): Obj => ({ bindableFrom: {}, ingress: [{ from: [everybody], ...rule }] });
const from = (peer: Obj): Obj => ingress({ from: [peer] });
const label = { matchLabels: { app: "web" } };

export const groupsRefused: Refusals = [
  [{}, /spec\.bindableFrom: Required value/],
  [{ bindableFrom: {}, mode: "off" }, /spec\.mode: Unsupported value: "off"/],
  [ingress({ ports: [{ port: 80 }] }), /ports need protocol tcp, udp or sctp/],
  [ingress({ protocol: "icmp", ports: [{ port: 80 }] }), /ports need protocol/],
  [ingress({ protocol: "tcp", icmp: { type: 8 } }), /icmp needs protocol icmp or icmpv6/],
  [ingress({ protocol: "tcp", ports: [{ port: 80, endPort: 79 }] }), /endPort must not be below port/],
  [ingress({ protocol: "tcp", ports: [{ port: 70000 }] }), /less than or equal to 65535/],
  [ingress({ protocol: "256" }), /protocol in body should match/],
  [ingress({ protocol: "TCP" }), /protocol in body should match/],
  [ingress({ from: [] }), /from in body should have at least 1 items/],
  [from({}), /a peer is one of cidr, securityGroup and namespaceSelector/],
  [from({ ...everybody, securityGroup: "a" }), /a peer is one of/],
  [from({ cidr: "10.0.0.1/8" }), /must be a network such as/],
  [from({ cidr: "10.0.0.0" }), /must be a network such as/],
  [from({ securityGroup: "a", except: ["10.0.0.0/8"] }), /except is cut out of cidr, which is missing/],
  [from({ cidr: "10.0.0.0/8", except: ["11.0.0.0/8"] }), /each network of except must lie within cidr/],
  [from({ cidr: "10.0.0.0/8", except: ["fd00::/64"] }), /each network of except must lie within cidr/],
  [from({ podSelector: label }), /a peer is one of/],
  [from({ ...everybody, podSelector: label }), /podSelector needs namespaceSelector beside it/],
  [from({ namespaceSelector: { matchExpressions: [{ key: "a", operator: "In" }] } }), /In and NotIn need values/],
  [
    { bindableFrom: { matchExpressions: [{ key: "a", operator: "Exists", values: ["b"] }] } },
    /Exists and DoesNotExist have none/,
  ],
];

export const groupsTaken: readonly Obj[] = [
  { bindableFrom: {} },
  { bindableFrom: label, mode: "audit", egress: [] },
  ingress({ protocol: "tcp", ports: [{ port: 80, endPort: 80 }, { port: 443 }], description: "the web" }),
  ingress({ protocol: "icmpv6", icmp: { type: 128, code: 0 } }),
  ingress({ protocol: "255" }),
  from({ cidr: "10.0.0.0/8", except: ["10.1.0.0/16", "10.0.0.0/8"] }),
  from({ cidr: "::/0", except: ["fd00::/8"] }),
  from({ namespaceSelector: {}, podSelector: label }),
  from({ securityGroup: "itself" }),
  {
    bindableFrom: {},
    egress: [
      { to: [{ namespaceSelector: { matchExpressions: [{ key: "a", operator: "NotIn", values: ["b", "c"] }] } }] },
    ],
  },
];

export const bindingsRefused: Refusals = [
  [{ groups: ["a"] }, /a binding needs podSelector or serviceAccountSelector/],
  [{ podSelector: {}, groups: [] }, /groups in body should have at least 1 items/],
  [{ podSelector: {}, groups: Array.from({ length: 17 }, (_, at) => `g${at}`) }, /must have at most 16 items/],
];

const group: Obj = { apiVersion, kind: "SecurityGroup" };
const binding: Obj = { apiVersion, kind: "SecurityGroupBinding" };
const sliceOf = (addresses: Value): Obj => ({
  apiVersion,
  kind: "MembershipSlice",
  membership: "a",
  peer: "group a",
  endpoints: [{ addresses }],
});

/** Tries a spec and keeps nothing. */
const dry = (wire: Wire, path: string, body: Obj) =>
  wire.call("POST", `${path}?dryRun=All`, { body: { metadata: { name: uniqueName("policy") }, ...body } });

async function refuseAll(wire: Wire, path: string, kind: Obj, refusals: Refusals): Promise<void> {
  for (const [spec, words] of refusals) {
    const reply = await dry(wire, path, { ...kind, spec });
    assert.equal(reply.status, 422, `${JSON.stringify(spec)} is refused: ${JSON.stringify(reply.body)}`);
    assert.match(refused(reply, 422, "Invalid"), words);
  }
}

/** Makes our kinds, where they are not there yet. */
async function serveOurs(wire: Wire): Promise<void> {
  for (const body of definitionsOfOurs) {
    const reply = await wire.call("POST", definitions, { body });
    assert.ok(reply.status === 201 || reply.status === 409, JSON.stringify(reply.body));
  }
  for (const plural of ["securitygroups", "securitygroupbindings", "membershipslices"])
    await until(`${plural} are served`, async () => (await wire.call("GET", `${ours}/${plural}`)).status === 200);
}

export function testPolicyKinds(name: string, wire: () => Wire): void {
  test(`${name}: NetworkPolicies are filled up and checked`, async (t) => {
    const path = `/apis/networking.k8s.io/v1/namespaces/${await testNamespace(wire(), t)}/networkpolicies`;
    const one = await dry(wire(), path, {
      spec: { podSelector: {}, ingress: [{ ports: [{ port: 80 }, { port: "web", protocol: "UDP" }] }] },
    });
    assert.deepEqual(look(one.body, "spec"), {
      podSelector: {},
      ingress: [
        {
          ports: [
            { protocol: "TCP", port: 80 },
            { protocol: "UDP", port: "web" },
          ],
        },
      ],
      policyTypes: ["Ingress"],
    });
    const both = await dry(wire(), path, { spec: { podSelector: {}, egress: [{}] } });
    assert.deepEqual(look(both.body, "spec", "policyTypes"), ["Ingress", "Egress"]);
    const none = await dry(wire(), path, { spec: { podSelector: {}, egress: [] } });
    assert.deepEqual(look(none.body, "spec", "policyTypes"), ["Ingress"]);
    await refuseAll(
      wire(),
      path,
      {},
      policiesRefused.map(([spec, words]) => [{ podSelector: {}, ...spec }, words]),
    );
  });

  test(`${name}: SecurityGroups, bindings and slices of ours are checked`, async (t) => {
    await serveOurs(wire());
    const groups = `${ours}/securitygroups`;
    for (const spec of groupsTaken) {
      const reply = await dry(wire(), groups, { ...group, spec });
      assert.equal(reply.status, 201, `${JSON.stringify(spec)}: ${JSON.stringify(reply.body)}`);
    }
    await refuseAll(wire(), groups, group, groupsRefused);
    const bindings = `${ours}/namespaces/${await testNamespace(wire(), t)}/securitygroupbindings`;
    await refuseAll(wire(), bindings, binding, bindingsRefused);
    assert.equal((await dry(wire(), bindings, { ...binding, spec: { podSelector: {}, groups: ["a"] } })).status, 201);
    const slices = `${ours}/membershipslices`;
    assert.equal((await dry(wire(), slices, sliceOf(["10.0.0.1", "fd00::1"]))).status, 201);
    for (const addresses of [[], ["10.0.0.256"], ["10.0.0.1", "10.0.0.2", "10.0.0.3"]])
      refused(await dry(wire(), slices, sliceOf(addresses)), 422, "Invalid");
  });

  test(`${name}: statuses of groups and bindings tell what they count, and nothing that is no count`, async (t) => {
    await serveOurs(wire());
    const made = await madeForTest(wire(), t, `${ours}/securitygroups`, {
      ...group,
      metadata: { name: uniqueName("told") },
      spec: { bindableFrom: {} },
    });
    const path = `${ours}/securitygroups/${nameOf(made)}/status`;
    const told = { members: 3, nodesTotal: 2, nodesEnforcing: 1 };
    const say = (status: object) => wire().call("PATCH", path, { body: { status } });
    const reply = await say(told);
    assert.deepEqual([reply.status, look(reply.body, "status")], [200, told]);
    assert.deepEqual(look(reply.body, "metadata", "generation"), look(made, "metadata", "generation"));
    refused(await say({ nodesEnforcing: -1 }), 422, "Invalid");
    refused(await say({ nodesTotal: "two" }), 422, "Invalid");
  });

  test(`${name}: the kind of AWS, where our own file brings it, is as theirs`, async (t) => {
    const { status, body: crd } = await wire().call("POST", definitions, { body: kindOfAws });
    assert.equal(status, 201, JSON.stringify(crd));
    t.after(() => wire().call("DELETE", `${definitions}/${nameOf(crd)}`));
    const group = textOf(crd, "spec", "group");
    const path = `/apis/${group}/v1beta1/namespaces/${await testNamespace(wire(), t)}/securitygrouppolicies`;
    await until("it is served", async () => (await wire().call("GET", path)).status === 200);
    const kind = { apiVersion: `${group}/v1beta1`, kind: "SecurityGroupPolicy" };
    const selector = { podSelector: { matchLabels: { app: "web" } }, securityGroups: { groupIds: ["sg-1", "sg-2"] } };
    const taken = await dry(wire(), path, { ...kind, spec: selector });
    assert.deepEqual([taken.status, look(taken.body, "spec")], [201, selector]);
    await refuseAll(wire(), path, kind, [
      [{ securityGroups: { groupIds: [] } }, /groupIds in body should have at least 1 items/],
      [{ securityGroups: { groupIds: Array.from({ length: 17 }, (_, n) => `sg-${n}`) } }, /must have at most 16 items/],
    ]);
  });

  test(`${name}: the largest group that the bounds allow is taken`, async (t) => {
    await serveOurs(wire());
    const peers = Array.from({ length: 16 }, (_, n) => ({
      cidr: `10.${n}.0.0/16`,
      except: Array.from({ length: 16 }, (__, m) => `10.${n}.${m}.0/24`),
    }));
    const rule = { protocol: "tcp", ports: [{ port: 80, endPort: 90 }], from: peers };
    const spec = { bindableFrom: {}, ingress: Array.from({ length: 120 }, () => rule) };
    await madeForTest(wire(), t, `${ours}/securitygroups`, { ...group, metadata: { name: uniqueName("large") }, spec });
  });
}
