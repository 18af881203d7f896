// deploy/fairlead.yaml on a real API server: it is taken whole, and each program may do what it must and no more.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { present } from "../../src/base/assert.ts";
import { ownKinds } from "../../tools/crds.ts";
import { until } from "../until.ts";
import { type ApiCall, callApi } from "./api-call.ts";
import { type ControlPlaneAlone, startControlPlaneAlone } from "./control-plane.ts";
import { manifest } from "./network-fairlead.ts";
import { needsUpstream } from "./upstream.ts";

const namespace = "fairlead-system";
const api = "/apis/fairlead.dev/v1alpha1";
/** Everything that decides who may talk to whom. */
const judgedBy = [
  "/api/v1/namespaces",
  "/api/v1/serviceaccounts",
  "/apis/networking.k8s.io/v1/networkpolicies",
  `${api}/securitygroups`,
  `${api}/securitygroupbindings`,
  `${api}/membershipslices`,
];

let made: ControlPlaneAlone | undefined;
const plane = (): ControlPlaneAlone => present(made, "control plane");

type Who = "agent of node-1" | "agent of node-2" | "agent by hand" | "controller" | "admin";
const tokens = new Map<Who, string>();

const network = (name: string, more: object = {}): object => ({
  apiVersion: "fairlead.dev/v1alpha1",
  kind: "NodeNetwork",
  metadata: { name, ...more },
  spec: { nodeUid: `uid-of-${name}`, agentVersion: "0.1.0" },
});

const endpoints = (name: string, address = "10.4.1.2"): object => ({
  apiVersion: "fairlead.dev/v1alpha1",
  kind: "NodeEndpoints",
  metadata: { name },
  nodeUid: `uid-of-${name}`,
  endpoints: [{ namespace: "default", name: "web", uid: "u", interface: "eth0", addresses: [address] }],
});

const ledger = (name: string, spec: object = {}): object => ({
  apiVersion: "fairlead.dev/v1alpha1",
  kind: "BlockLedger",
  metadata: { name },
  spec: { range: "10.64.0.0/14", blockPrefix: 24, used: "", cursor: 0, pending: [], ...spec },
});

/** A call that must have this status and, where it fails, these words in its answer. */
type Row = [who: Who, method: ApiCall["method"], path: string, body: object | undefined, status: number, says?: RegExp];

async function expectRows(rows: readonly Row[]): Promise<void> {
  for (const [who, method, path, body, status, says] of rows) {
    const token = tokens.get(who);
    const answer = await callApi(plane(), {
      method,
      path,
      ...(body === undefined ? {} : { body }),
      ...(token === undefined ? {} : { token }),
    });
    assert.equal(answer.status, status, `${who}: ${method} ${path}: ${answer.message}`);
    if (says !== undefined) assert.match(answer.message, says, `${who}: ${method} ${path}`);
  }
}

async function makeTokens(): Promise<void> {
  for (const node of ["node-1", "node-2"]) {
    const pod = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: `agent-on-${node}`, namespace },
      spec: { nodeName: node, serviceAccountName: "fairlead-agent", containers: [{ name: "agent", image: "none" }] },
    };
    const objects = [{ apiVersion: "v1", kind: "Node", metadata: { name: node } }, pod];
    await plane().kubectl(["create", "-f", "-"], {
      input: objects.map((each) => JSON.stringify(each)).join("\n---\n"),
    });
    const bound = ["--bound-object-kind=Pod", `--bound-object-name=agent-on-${node}`];
    tokens.set(`agent of ${node}` as Who, await token("fairlead-agent", ...bound));
  }
  tokens.set("agent by hand", await token("fairlead-agent"));
  tokens.set("controller", await token("fairlead-controller"));
}

async function token(account: string, ...bound: string[]): Promise<string> {
  return (await plane().kubectl(["create", "token", account, `--namespace=${namespace}`, ...bound])).trim();
}

describe("the installation on a real API server", needsUpstream("kubernetes"), () => {
  before(
    async () => {
      made = await startControlPlaneAlone({ name: `ki${process.pid}`, families: [4] });
      await plane().kubectl(["apply", `--filename=${manifest}`]);
      const crds = ownKinds.map(({ kind }) => `crd/${kind.plural}.${kind.group}`);
      await plane().kubectl(["wait", "--for=condition=Established", "--timeout=30s", ...crds]);
      for (const { kind } of ownKinds) {
        // The server says 429 while it opens the storage of a new kind.
        const path = `${api}/${kind.plural}`;
        await until(`${path} is served`, async () => (await callApi(plane(), { method: "GET", path })).status === 200);
      }
      await makeTokens();
    },
    { timeout: 120_000 },
  );
  after(async () => made?.close(), { timeout: 60_000 });

  test("the server takes all of it, finds nothing to complain of, and nothing to change a second time", async () => {
    await plane().kubectl(["apply", "--dry-run=server", "--validate=strict", `--filename=${manifest}`]);
    await plane().kubectl(["diff", `--filename=${manifest}`]);
    const conditions = await plane().kubectl(["get", "crd", "-o", "jsonpath={.items[*].status.conditions}"]);
    assert.doesNotMatch(conditions, /NonStructuralSchema/);
    const ours = await plane().kubectl(["api-resources", "--categories=fairlead", "-o", "name"]);
    assert.equal(ours.trim().split("\n").length, ownKinds.length, ours);
  });

  test("an agent writes what is its own node's, and reads what it needs", () =>
    expectRows([
      ["agent of node-1", "POST", `${api}/nodenetworks`, network("node-1"), 201],
      ["agent of node-2", "POST", `${api}/nodenetworks`, network("node-2"), 201],
      ["agent of node-1", "POST", `${api}/nodeendpoints`, endpoints("node-1"), 201],
      ["agent of node-2", "POST", `${api}/nodeendpoints`, endpoints("node-2"), 201],
      ["agent of node-1", "GET", `${api}/nodenetworks?watch=0`, undefined, 200],
      ["agent of node-1", "GET", `${api}/nodeendpoints`, undefined, 200],
      ["agent of node-1", "GET", "/api/v1/nodes", undefined, 200],
      ["agent of node-1", "GET", `/api/v1/namespaces/${namespace}/pods/agent-on-node-2`, undefined, 200],
      ...judgedBy.map((path): Row => ["agent of node-1", "GET", path, undefined, 200]),
    ]));

  test("it replaces its own object, and nobody else's", async () => {
    for (const [who, name, status] of [
      ["agent of node-1", "node-1", 200],
      ["agent of node-1", "node-2", 403],
      ["agent by hand", "node-1", 403],
    ] as const) {
      const held = await callApi(plane(), { method: "GET", path: `${api}/nodenetworks/${name}` });
      const changed = { ...held.body, spec: { nodeUid: "changed", agentVersion: who } };
      await expectRows([[who, "PUT", `${api}/nodenetworks/${name}`, changed, status]]);
    }
    const { body } = await callApi(plane(), { method: "GET", path: `${api}/nodenetworks/node-2` });
    assert.deepEqual(body["spec"], { nodeUid: "uid-of-node-2", agentVersion: "0.1.0" });
  });

  test("what it may not write, the policy says why", () =>
    expectRows([
      [
        "agent of node-1",
        "POST",
        `${api}/nodenetworks`,
        network("node-3"),
        403,
        /agent of node node-1 writes .* not of node-3/,
      ],
      ["agent of node-1", "POST", `${api}/nodeendpoints`, endpoints("node-3"), 403, /agent of node node-1 writes/],
      ["agent by hand", "POST", `${api}/nodenetworks`, network("node-3"), 403, /this token names no node/],
      ["agent by hand", "POST", `${api}/nodeendpoints`, endpoints("node-3"), 403, /this token names no node/],
      [
        "agent of node-1",
        "POST",
        `${api}/nodenetworks`,
        { ...network(""), metadata: { generateName: "node-1" } },
        403,
        /writes the objects of that name only/,
      ],
    ]));

  test("an object of a node is owned by that node or by nobody", async () => {
    await plane().kubectl(["delete", "nodenetworks", "node-1"]);
    const owned = (name: string, kind = "Node"): object =>
      network("node-1", { ownerReferences: [{ apiVersion: "v1", kind, name, uid: "u" }] });
    await expectRows([
      ["agent of node-1", "POST", `${api}/nodenetworks`, owned("node-2"), 403, /owned by that Node or by nobody/],
      [
        "agent of node-1",
        "POST",
        `${api}/nodenetworks`,
        owned("node-1", "Pod"),
        403,
        /owned by that Node or by nobody/,
      ],
      ["agent of node-1", "POST", `${api}/nodenetworks`, owned("node-1"), 201],
    ]);
  });

  test("rights end where the sources of each program end", () =>
    expectRows([
      ["agent of node-1", "PATCH", `${api}/nodenetworks/node-1/status`, { status: {} }, 403, /cannot patch/],
      ["agent of node-1", "DELETE", `${api}/nodenetworks/node-1`, undefined, 403, /cannot delete/],
      ["agent of node-1", "POST", `${api}/blockledgers`, ledger("own"), 403, /cannot create/],
      ["agent of node-1", "PATCH", "/api/v1/nodes/node-1", { metadata: { labels: { a: "b" } } }, 403, /cannot patch/],
      ["agent of node-1", "POST", `${api}/membershipslices`, slice("own"), 403, /cannot create/],
      ["agent of node-1", "POST", `${api}/securitygroups`, group("own"), 403, /cannot create/],
      ["agent of node-1", "GET", "/api/v1/secrets", undefined, 403, /cannot list/],
      ["agent of node-1", "GET", `/api/v1/namespaces/${namespace}/configmaps`, undefined, 403, /cannot list/],
      ["controller", "POST", `${api}/nodenetworks`, network("node-3"), 403, /cannot create/],
      ["controller", "POST", `${api}/nodeendpoints`, endpoints("node-3"), 403, /cannot create/],
      ["controller", "DELETE", "/api/v1/nodes/node-1", undefined, 403, /cannot delete/],
      ["controller", "GET", "/api/v1/secrets", undefined, 403, /cannot list/],
      ["controller", "POST", `${api}/securitygroups`, group("own"), 403, /cannot create/],
      ["controller", "POST", "/api/v1/namespaces/default/pods", {}, 403, /cannot create/],
      [
        "controller",
        "POST",
        "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases",
        lease(),
        403,
        /cannot create/,
      ],
    ]));

  test("the controller does what it must", () =>
    expectRows([
      [
        "controller",
        "PATCH",
        "/api/v1/nodes/node-1",
        { spec: { podCIDR: "10.64.0.0/24", podCIDRs: ["10.64.0.0/24"] } },
        200,
      ],
      ["controller", "PATCH", "/api/v1/nodes/node-1/status", { status: {} }, 200],
      ["controller", "PATCH", `${api}/nodenetworks/node-1/status`, status(["10.64.0.0/24"], ["172.30.0.11"]), 200],
      ["controller", "POST", `${api}/blockledgers`, ledger("pods"), 201],
      ...["/api/v1/pods", ...judgedBy].map((path): Row => ["controller", "GET", path, undefined, 200]),
      ["controller", "POST", `${api}/membershipslices`, slice("web"), 201],
      ["controller", "DELETE", `${api}/membershipslices/web`, undefined, 200],
      ["admin", "POST", `${api}/securitygroups`, group("web"), 201],
      ["controller", "PATCH", `${api}/securitygroups/web/status`, { status: { members: 0 } }, 200],
      ["controller", "POST", `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`, lease(), 201],
      ["controller", "POST", "/api/v1/namespaces/default/events", event(), 201],
      ["controller", "DELETE", `${api}/nodeendpoints/node-2`, undefined, 200],
    ]));

  test("the schemas refuse what no program of ours could read", async () => {
    const path = `${api}/nodenetworks/node-1/status`;
    const held = await callApi(plane(), { method: "GET", path: `${api}/blockledgers/pods` });
    const otherRange = { ...held.body, spec: { ...(held.body["spec"] as object), range: "10.68.0.0/14" } };
    await expectRows([
      ["admin", "PATCH", path, status(["10.64.0.1/24"], []), 422, /must be a network/],
      ["admin", "PATCH", path, status(["10.64.0/24"], []), 422, /must be a network/],
      ["admin", "PATCH", path, status(["fd00::/64", "fd00::/64"], []), 422, /[Dd]uplicate/],
      ["admin", "PATCH", path, status([], ["172.30.0.011"]), 422, /must be an IP address/],
      ["admin", "PATCH", path, status(["fd00:64::/64"], ["172.30.0.11", "fd00::1"]), 200],
      ["admin", "POST", `${api}/nodeendpoints`, endpoints("node-9", "10.4.1"), 422, /must be an IP address/],
      ["admin", "POST", `${api}/blockledgers`, ledger("other", { blockPrefix: 4 }), 422, /greater than or equal to 8/],
      ["admin", "POST", `${api}/blockledgers`, ledger("other", { used: "x".repeat(10_925) }), 422, /[Tt]oo long/],
      ["admin", "PUT", `${api}/blockledgers/pods`, otherRange, 422, /range and blockPrefix cannot change/],
    ]);
  });

  test("the policy holds by itself: with every right that RBAC can give, an agent writes for its node only", async () => {
    const binding = ["clusterrolebinding", "all-rights"];
    const account = `--serviceaccount=${namespace}:fairlead-agent`;
    await plane().kubectl(["create", ...binding, "--clusterrole=cluster-admin", account]);
    try {
      const ofAnother: Row = [
        "agent of node-1",
        "PATCH",
        `${api}/nodenetworks/node-2`,
        { spec: { agentVersion: "x" } },
        403,
        /not of node-2/,
      ];
      // The server itself hears of the right a moment later, and refuses by its absence until then.
      await until("the right counts", () =>
        expectRows([ofAnother]).then(
          () => true,
          () => false,
        ),
      );
      await expectRows([
        ofAnother,
        ["agent of node-1", "DELETE", `${api}/nodenetworks/node-2`, undefined, 403, /not of node-2/],
        [
          "agent of node-1",
          "DELETE",
          `${api}/nodenetworks`,
          undefined,
          403,
          /the objects of that name only, not of all/,
        ],
        ["agent of node-1", "PATCH", `${api}/nodenetworks/node-1/status`, { status: null }, 403, /never a status/],
        ["agent of node-1", "DELETE", `${api}/blockledgers/pods`, undefined, 403, /agents write NodeNetworks/],
        ["agent by hand", "DELETE", `${api}/nodenetworks/node-1`, undefined, 403, /names no node/],
        ["agent of node-1", "DELETE", `${api}/nodenetworks/node-1`, undefined, 200],
        ["controller", "DELETE", `${api}/nodenetworks/node-2`, undefined, 200],
      ]);
    } finally {
      await plane().kubectl(["delete", ...binding]);
    }
  });
});

const status = (blocks: readonly string[], addresses: readonly string[]): object => ({
  status: { nodeUid: "uid-of-node-1", blocks: blocks.map((cidr) => ({ cidr })), addresses },
});

const group = (name: string): object => ({
  apiVersion: "fairlead.dev/v1alpha1",
  kind: "SecurityGroup",
  metadata: { name },
  spec: { bindableFrom: {} },
});

const slice = (name: string): object => ({
  apiVersion: "fairlead.dev/v1alpha1",
  kind: "MembershipSlice",
  metadata: { name },
  membership: "0123456789",
  peer: "group web",
  endpoints: [{ addresses: ["10.64.0.2"] }],
});

const lease = (): object => ({
  apiVersion: "coordination.k8s.io/v1",
  kind: "Lease",
  metadata: { name: "fairlead-controller" },
  spec: { holderIdentity: "one", leaseDurationSeconds: 15 },
});

const event = (): object => ({
  apiVersion: "v1",
  kind: "Event",
  metadata: { name: "node-1.1", namespace: "default" },
  involvedObject: { kind: "Node", name: "node-1", uid: "u" },
  reason: "Assigned",
  message: "one",
  type: "Normal",
  source: { component: "fairlead-controller" },
});
