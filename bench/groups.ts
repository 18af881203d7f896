// The objects that measurements of a cluster's policy are made with: callers, and servers with very many rules that let them in.

import type { Api } from "../lab/api.ts";

/** Label `app` of pods, and names of the groups that these are bound to. */
export const [callers, servers] = ["caller", "server"];
/** UDP port that callers are let in at by the rule that edits add and take away. */
export const editedPort = 7_000;
/** TCP ports that callers are let in at whatever is edited. */
export const lastingPorts = [8_001, 8_002] as const;

const ours = "/apis/fairlead.dev/v1alpha1";
const apiVersion = "fairlead.dev/v1alpha1";

/** Rules about ports of their own: of five, four are about callers and one is about a network. */
function rulesFrom(firstPort: number, count: number): object[] {
  return Array.from({ length: count }, (_, index) => ({
    protocol: "tcp",
    ports: [{ port: firstPort + index }],
    from: [index % 5 === 0 ? { cidr: `203.0.${index}.0/24` } : { securityGroup: callers }],
  }));
}

const lasting = rulesFrom(8_000, 118);
const edited = { protocol: "udp", ports: [{ port: editedPort }], from: [{ securityGroup: callers }] };

async function bind(api: Api, app: string, groups: readonly string[]): Promise<void> {
  await api.must("POST", `${ours}/namespaces/default/securitygroupbindings`, {
    apiVersion,
    kind: "SecurityGroupBinding",
    metadata: { name: app, namespace: "default" },
    spec: { podSelector: { matchLabels: { app } }, groups },
  });
}

/** Servers answer, and call nobody: else the answer to a datagram could begin a connection of its own just as that of the caller is cut. */
async function makeGroup(api: Api, name: string, ingress: readonly object[]): Promise<void> {
  const spec = { bindableFrom: {}, ingress, ...(name === servers ? { egress: [] } : {}) };
  await api.must("POST", `${ours}/securitygroups`, { apiVersion, kind: "SecurityGroup", metadata: { name }, spec });
}

/** Servers with 118 rules, and 119 once callers are let in by `edit`; callers call whom they like. */
export async function makeGroups(api: Api): Promise<void> {
  await makeGroup(api, callers, []);
  await makeGroup(api, servers, lasting);
  await bind(api, callers, [callers]);
  await bind(api, servers, [servers]);
}

/** Servers with 300 rules: two groups, and a NetworkPolicy. */
export async function makeManyRules(api: Api): Promise<void> {
  await makeGroup(api, callers, []);
  await makeGroup(api, servers, rulesFrom(8_000, 120));
  await makeGroup(api, "more", rulesFrom(9_000, 120));
  await bind(api, callers, [callers]);
  await bind(api, servers, [servers, "more"]);
  const peer = { podSelector: { matchLabels: { app: callers } } };
  await api.must("POST", "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies", {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: servers, namespace: "default" },
    spec: {
      podSelector: { matchLabels: { app: servers } },
      ingress: Array.from({ length: 60 }, (_, index) => ({ ports: [{ port: 8_000 + index }], from: [peer] })),
    },
  });
}

/** Lets callers in at `editedPort`, or not any more. */
export async function edit(api: Api, open: boolean): Promise<void> {
  const spec = { ingress: open ? [...lasting, edited] : lasting };
  await api.must("PATCH", `${ours}/securitygroups/${servers}`, { spec }, "application/merge-patch+json");
}
