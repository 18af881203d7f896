// While policy changes, real packets: what both rulesets deny never passes, what both allow is never lost.

import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { runIn } from "../../../test/masq-stage.ts";
import type { TestNetns } from "../../../test/netns.ts";
import { blocks, layer, members, type RulesetParts, ruleset, udp } from "../../../test/policy-rulesets.ts";
import { at, makePolicyStage, type PolicyStage } from "../../../test/policy-stage.ts";
import { until } from "../../../test/until.ts";
import type { Direction } from "../../policy/model.ts";
import type { LayerChains, PolicyRuleset } from "../../policy/ruleset.ts";

/** Every ruleset here lets pod one reach pod two on this one, and not on that one. */
const [allowed, denied] = [8080, 9090];

/** Sends to both in turn, until it is told to end. */
const flood = `
import select, socket, sys
print("ready", flush=True)
sockets = []
for port in sys.argv[2:]:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect((sys.argv[1], int(port)))
    sockets.append(sock)
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(500):
        for sock in sockets:
            try:
                sock.send(b".")
            except OSError:
                pass
print("done", flush=True)
`;

/** Each packet is judged as if it were the first, and counted before and behind. */
const countTable = `table inet count {
  counter sent_allowed {}
  counter sent_denied {}
  counter passed_allowed {}
  counter passed_denied {}
  chain before {
    type filter hook prerouting priority -350
    udp dport ${allowed} counter name sent_allowed notrack
    udp dport ${denied} counter name sent_denied notrack
  }
  chain behind {
    type filter hook postrouting priority 350
    udp dport ${allowed} counter name passed_allowed
    udp dport ${denied} counter name passed_denied
  }
}`;

function counts(node: TestNetns): Record<string, number> {
  const listed = node.run("nft", "list", "counters", "table", "inet", "count");
  return Object.fromEntries(
    [...listed.matchAll(/counter (\w+) \{\s+packets (\d+)/g)].map(([, name, n]) => [name, Number(n)]),
  );
}

interface Flooded extends PolicyStage {
  /** Ends the flood; says what passed that was denied, and what was lost that was allowed. */
  end: () => Promise<Record<string, number>>;
}

async function flooded(t: TestContext, first: PolicyRuleset): Promise<Flooded> {
  const stage = await makePolicyStage(t);
  await stage.policy.ensure(first);
  stage.setClass("one", 101);
  stage.setClass("two", 102);
  stage.node.run("nft", countTable);
  const { say, hear } = await runIn(t, stage.podNetns.one, flood, at.two[4], String(allowed), String(denied));
  await until("the flood runs", () => (counts(stage.node)["passed_allowed"] ?? 0) > 1000);
  const end = async (): Promise<Record<string, number>> => {
    say("");
    await hear();
    await until("every packet has been judged", () => {
      const before = counts(stage.node);
      return isDeepStrictEqual(before, counts(stage.node));
    });
    return counts(stage.node);
  };
  return { ...stage, end };
}

function nothingWrong(counted: Record<string, number>, least: number): void {
  assert.ok((counted["sent_denied"] ?? 0) > least && (counted["sent_allowed"] ?? 0) > least, JSON.stringify(counted));
  assert.equal(counted["passed_denied"], 0, JSON.stringify(counted));
  assert.equal(counted["passed_allowed"], counted["sent_allowed"], JSON.stringify(counted));
}

/** A layer that lets through what is allowed, and on demand what is denied too; `n` makes it another one. */
function letting(
  through: "allowed" | "both",
  direction: Direction,
  n: number,
  by: "ports" | "rules" | "networks",
): LayerChains {
  const peer = direction === "egress" ? "two" : "one";
  const port = 20_000 + (n % 1000);
  const name = `${direction}_${through}_${by}_${n}`;
  const numbers = [port, allowed, ...(through === "both" ? [denied] : [])];
  if (by === "ports") {
    const ports = numbers.map((one) => ({ protocol: udp, port: one, peers: 0 }));
    return layer(name, { direction, ports, peerLists: [[{ family: 4, set: `m_${peer}` }]] });
  }
  const set = by === "networks" ? `b_${peer}_${n}` : `m_${peer}`;
  const rest = numbers.map((one) => ({
    protocol: udp,
    ports: { first: one, last: one },
    peer: { family: 4, set } as const,
  }));
  return layer(name, { direction, rest });
}

const common: RulesetParts = {
  memberSets: [members("m_one", 4, at.one[4]), members("m_two", 4, at.two[4])],
  links: ["fl1", "fl2", "fl3"],
};

const networksOf = ({ rest }: LayerChains): string[] =>
  rest.flatMap(({ peer }) => (peer?.set.startsWith("b_") ? peer.set : []));

function judged(egress: readonly LayerChains[], ingress: readonly LayerChains[], n: number): PolicyRuleset {
  const layers = [...egress, ...ingress];
  const sets = new Set(layers.flatMap(networksOf));
  return ruleset({
    ...common,
    layers,
    classes: {
      101: { egress: egress.map(({ name }) => name) },
      102: { ingress: ingress.map(({ name }) => name) },
    },
    blockSets: Array.from(sets, (name) => blocks(name, "10.4.1.2/31", `100.64.${n % 200}.0/24`)),
  });
}

/** Who denies what is denied goes from one to the other. */
const places: ((n: number) => PolicyRuleset)[] = [
  (n) => judged([letting("allowed", "egress", n, "ports")], [letting("both", "ingress", n, "ports")], n),
  (n) => judged([letting("both", "egress", n, "ports")], [letting("allowed", "ingress", n, "rules")], n),
  (n) => judged([letting("both", "egress", n, "rules"), letting("allowed", "egress", n + 1, "ports")], [], n),
  (n) => judged([letting("allowed", "egress", n, "networks"), letting("both", "egress", n + 1, "ports")], [], n),
  (n) => judged([], [letting("allowed", "ingress", n, "networks"), letting("both", "ingress", n + 1, "rules")], n),
  (n) => judged([letting("both", "egress", n, "networks")], [letting("allowed", "ingress", n + 1, "ports")], n),
];

const switches = 300;

for (const trust of [undefined, "as left"] as const) {
  void test(
    `a change of policy opens nothing and closes nothing on the way, ${trust ?? "read"}`,
    { timeout: 110_000 },
    async (t) => {
      const [first] = places;
      const { policy, end } = await flooded(t, first?.(0) ?? assert.fail());
      for (let n = 1; n <= switches; n += 1) {
        const next = places[(n * 5 + (n >> 3)) % places.length] ?? assert.fail();
        assert.equal(await policy.ensure(next(n), trust), true);
      }
      nothingWrong(await end(), 20_000);
    },
  );
}

void test("an address that goes from one group to another is never in both", { timeout: 110_000 }, async (t) => {
  const groups = ["m_left", "m_right"] as const;
  const toOpen = { protocol: udp, ports: { first: allowed, last: allowed } };
  // Each layer lets through to its own group: to reach pod two on what is denied, it would have to be in both.
  const layers = groups.map((set) =>
    layer(`to_${set}`, { rest: [toOpen, { protocol: udp, peer: { family: 4, set } }] }),
  );
  const { policy, end } = await flooded(
    t,
    ruleset({
      classes: { 101: { egress: layers.map(({ name }) => name) }, 102: {} },
      layers,
      memberSets: [members("m_left", 4, at.two[4]), members("m_right", 4)],
    }),
  );
  const elements = members("m_left", 4, at.two[4]).parts.flat();
  for (let n = 0; n < 20 * switches; n += 1) {
    const [from, to] = n % 2 === 0 ? groups : groups.toReversed();
    await policy.change({ remove: new Map([[from ?? "", elements]]), add: new Map([[to ?? "", elements]]) });
  }
  nothingWrong(await end(), 2000);
});

void test(
  "what the sender's class denied passes at no moment when the receiver's is to deny it, or back",
  { timeout: 110_000 },
  async (t) => {
    const layers = (["egress", "ingress"] as const).flatMap((direction) => [
      letting("allowed", direction, 0, "ports"),
      letting("both", direction, 0, "ports"),
    ]);
    const [narrowOut, wideOut, narrowIn, wideIn] = layers.map(({ name }) => [name]);
    const between = (egress: string[] | undefined, ingress: string[] | undefined): PolicyRuleset =>
      ruleset({ ...common, layers, classes: { 101: { egress: egress ?? [] }, 102: { ingress: ingress ?? [] } } });
    const [atSender, atReceiver] = [between(narrowOut, wideIn), between(wideOut, narrowIn)];
    const { policy, end } = await flooded(t, atSender);
    for (let n = 0; n < 5 * switches; n += 1) {
      assert.equal(await policy.ensure(n % 2 === 0 ? atReceiver : atSender, "as left"), true);
    }
    nothingWrong(await end(), 2000);
  },
);
