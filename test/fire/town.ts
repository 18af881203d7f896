// A small town of pods under NetworkPolicies and groups, of which each thing can change; what `verdict` says of each two of them, whatever has changed.

import { exec } from "../../lab/exec.ts";
import { all, until } from "../../lab/waiting.ts";
import { present } from "../../src/base/assert.ts";
import { namespaces, networkPolicies, securityGroupBindings, securityGroups } from "../../src/kube/policy-objects.ts";
import { clusterModel } from "../../src/policy/build-model.ts";
import { createJudge } from "../../src/policy/judge.ts";
import type { PolicyPod } from "../../src/policy/model.ts";
import type { FireLab, FirePod, Named, PolicyKind } from "./stage.ts";
import { trafficPort } from "./traffic.ts";

const udp = 17;
const judgedWithinMs = 60_000;

/** Everything about the town that can change. Those of the first four decide each about one pod's calls, the others about nobody's. */
export interface TownState {
  /** The policy has a rule for `ruled`. */
  rule: boolean;
  /** `labeled` has the label that a rule asks for. */
  label: boolean;
  /** The namespace `bank`, where `spaced` lives, has the label that a rule asks for. */
  team: boolean;
  /** The binding of group `front` selects `bound`. */
  binding: boolean;
  /** Says something else in every object, and in a membership: nobody's calls depend on it. */
  noise: Readonly<Record<Noise, number>>;
}

export const noises = ["policy", "group", "binding", "podLabel", "teamLabel", "class"] as const;
export type Noise = (typeof noises)[number];

export const quietTown: TownState = {
  rule: true,
  label: true,
  team: true,
  binding: true,
  noise: { policy: 0, group: 0, binding: 0, podLabel: 0, teamLabel: 0, class: 0 },
};

/** Pods by name: where they are, and by what policy knows them. */
const dwellers: Record<string, { node: string; namespace: "shop" | "bank" }> = {
  db1: { node: "node-1", namespace: "shop" },
  db2: { node: "node-2", namespace: "shop" },
  always: { node: "node-2", namespace: "shop" },
  never: { node: "node-1", namespace: "shop" },
  ruled: { node: "node-1", namespace: "shop" },
  labeled: { node: "node-2", namespace: "shop" },
  spaced: { node: "node-1", namespace: "bank" },
  bound: { node: "node-2", namespace: "shop" },
};
/** Which part of the state decides whether a pod may call the databases. */
export const decidedBy = { ruled: "rule", labeled: "label", spaced: "team", bound: "binding" } as const;
export const databases = ["db1", "db2"] as const;

const appOf = (name: string): string => (name.startsWith("db") ? "db" : name);
const isEveryOther = (n: number): boolean => Math.floor(n / noises.length) % 2 === 1;
const block = (network: string, n: number): object => ({ cidr: `${network}.${n % 250}.0/24` });
const selected = (app: string): object => ({ podSelector: { matchLabels: { app } } });

function labelsOf(name: string, state: TownState): Record<string, string> {
  return {
    app: appOf(name),
    ...(name === "labeled" && state.label ? { role: "caller" } : {}),
    // A member of what a rule for another port asks for, or not.
    ...(name === "never" && isEveryOther(state.noise.podLabel) ? { role: "noisy" } : {}),
    // Of another class, since one more policy is about it.
    ...(name.startsWith("db") && isEveryOther(state.noise.class) ? { tier: "back" } : {}),
  };
}

const teamLabels = (state: TownState): Record<string, string> => ({
  team: state.team ? "a" : "b",
  noise: `n${state.noise.teamLabel}`,
});

/** The objects that say who may call the databases. */
export function objectsOf(state: TownState): Record<"policy" | "group" | "data" | "front", [PolicyKind, Named]> {
  const { noise } = state;
  const callers = ["always", "ruled", "labeled", "spaced"];
  return {
    policy: [
      "NetworkPolicy",
      {
        metadata: { namespace: "shop", name: "db" },
        spec: {
          ...selected("db"),
          policyTypes: ["Ingress"],
          ingress: [
            { from: [selected("always"), selected("bound"), ...(state.rule ? [selected("ruled")] : [])] },
            { from: [{ podSelector: { matchLabels: { role: "caller" } } }] },
            { from: [{ namespaceSelector: { matchLabels: { team: "a" } } }] },
            { from: [{ podSelector: { matchLabels: { role: "noisy" } } }], ports: [{ protocol: "UDP", port: 9 }] },
            { from: [{ ipBlock: block("100.64", noise.policy) }] },
          ],
        },
      },
    ],
    group: [
      "SecurityGroup",
      {
        metadata: { name: "data" },
        spec: {
          bindableFrom: {},
          ingress: [
            { from: [{ securityGroup: "front" }, block("100.65", noise.group)] },
            ...callers.map((app) => ({ from: [{ namespaceSelector: {}, ...selected(app) }] })),
          ],
        },
      },
    ],
    data: [
      "SecurityGroupBinding",
      { metadata: { namespace: "shop", name: "data" }, spec: { ...selected("db"), groups: ["data"] } },
    ],
    front: [
      "SecurityGroupBinding",
      {
        metadata: { namespace: "shop", name: "front" },
        spec: {
          podSelector: {
            matchExpressions: [
              { key: "app", operator: "In", values: [state.binding ? "bound" : "nobody", `noise-${noise.binding}`] },
            ],
          },
          groups: ["front"],
        },
      },
    ],
  };
}

/** A further policy about databases of that tier, which lets in nobody who is here. */
const tier: [PolicyKind, Named] = [
  "NetworkPolicy",
  {
    metadata: { namespace: "shop", name: "tier" },
    spec: { podSelector: { matchLabels: { tier: "back" } }, ingress: [{ from: [{ ipBlock: block("100.66", 0) }] }] },
  },
];
/** Members of it may do what they like: it is a name for those who are in it. */
const front: [PolicyKind, Named] = [
  "SecurityGroup",
  {
    metadata: { name: "front" },
    spec: { bindableFrom: {}, ingress: [{ from: [{ cidr: "0.0.0.0/0" }, { cidr: "::/0" }] }] },
  },
];

export interface Town {
  pods: readonly FirePod[];
  pod: (name: string) => FirePod;
  /** Settles when the kernel goes by what was written first: the databases are closed, and whom it allows reaches them. */
  untilJudged: () => Promise<void>;
  /** Writes what differs from what was written last. */
  become: (state: TownState) => Promise<void>;
  /** By `verdict`, for that state: whether the packet of a flow "FROM > TO over IPvN" passes. */
  judgeOf: (state: TownState) => (flow: { from: string; to: string; family: 4 | 6 }) => boolean;
}

/** Builds the town as it is in peace. */
export async function buildTown(lab: FireLab): Promise<Town> {
  const { kubernetes, create, replace } = lab;
  let written = quietTown;
  await kubernetes.addNamespace("shop", {});
  await kubernetes.addNamespace("bank", teamLabels(written));
  const pods = await all(
    Object.entries(dwellers).map(([name, place]) => lab.addPod(name, { ...place, labels: labelsOf(name, written) })),
  );
  for (const [kind, object] of [front, tier, ...Object.values(objectsOf(written))]) await create(kind, object);
  const pod = (name: string): FirePod =>
    present(
      pods.find((one) => one.name === name),
      name,
    );

  const become = async (state: TownState): Promise<void> => {
    const [before, after] = [objectsOf(written), objectsOf(state)];
    for (const name of ["policy", "group", "data", "front"] as const) {
      if (!isSame(before[name], after[name])) await replace(...after[name]);
    }
    for (const { name, namespace } of pods) {
      const [had, has] = [labelsOf(name, written), labelsOf(name, state)];
      if (!isSame(had, has)) await kubernetes.labelPod(name, namespace, changesOf(had, has));
    }
    if (!isSame(teamLabels(written), teamLabels(state))) await kubernetes.labelNamespace("bank", teamLabels(state));
    written = state;
  };
  const reaches = async (from: string, to: string): Promise<boolean> => {
    const args = ["-c", "1", "-W", "0.5", present(pod(to).addresses[4], "address")];
    return (await exec("ping", args, { netns: pod(from).netns, env: lab.lab.env })).code === 0;
  };
  const callers = ["always", ...Object.keys(decidedBy)];
  const wrong = async (): Promise<string | undefined> => {
    for (const db of databases) {
      if (await reaches("never", db)) return `never reaches ${db}`;
      for (const from of callers) if (!(await reaches(from, db))) return `${from} does not reach ${db}`;
    }
    return undefined;
  };
  return {
    pods,
    pod,
    become,
    untilJudged: () => until(wrong, { what: "the kernel goes by what was written", withinMs: judgedWithinMs }),
    judgeOf: (state) => judgeOf(pods, lab, state),
  };
}

const isSame = (a: object, b: object): boolean => JSON.stringify(a) === JSON.stringify(b);

const changesOf = (had: Record<string, string>, has: Record<string, string>): Record<string, string | null> => ({
  ...Object.fromEntries(Object.keys(had).map((key) => [key, null])),
  ...has,
});

function judgeOf(pods: readonly FirePod[], { cluster }: FireLab, state: TownState): ReturnType<Town["judgeOf"]> {
  const asPolicy = pods.map(({ name, namespace, node, addresses }): PolicyPod => {
    const facts = {
      namespace,
      name,
      uid: name,
      node,
      labels: labelsOf(name, state),
      serviceAccount: "default",
      ports: [],
    };
    return { ...facts, addresses: Object.values(addresses) };
  });
  const { policy, group, data, front: frontBinding } = objectsOf(state);
  const named = (name: string, labels: Record<string, string>): ReturnType<typeof namespaces.parse> =>
    namespaces.parse({ metadata: { name, labels: { ...labels, "kubernetes.io/metadata.name": name } } });
  const model = clusterModel(
    {
      namespaces: [named("shop", {}), named("bank", teamLabels(state))],
      serviceAccounts: [],
      networkPolicies: [tier, policy].map(([, object]) => networkPolicies.parse(object)),
      groups: [front, group].map(([, object]) => securityGroups.parse(object)),
      bindings: [data, frontBinding].map(([, object]) => securityGroupBindings.parse(object)),
      groupPolicies: [],
    },
    asPolicy,
    new Map([...cluster.nodes].map(([name, { layout }]) => [name, Object.values(layout.addresses)])),
  );
  const judge = createJudge(model);
  const address = (name: string, family: 4 | 6) =>
    present(
      present(
        pods.find((one) => one.name === name),
        name,
      ).addresses[family],
      `address of ${name}`,
    );
  return ({ from, to, family }) => {
    const ends = { source: address(from, family), destination: address(to, family) };
    return judge.verdict({ ...ends, protocol: udp, destinationPort: trafficPort }).passes;
  };
}
