// Names of ports that the called pod has not got: the rule is right about the peer, and people are told so.

import assert from "node:assert/strict";
import { test } from "node:test";
import { policyWorld, shopPolicy } from "../../test/policy-world.ts";
import type { ExplainedJudgement } from "./explain.ts";

/** The source has a port of that name, too: it is not the one that counts. */
const pods = {
  "shop/web": { labels: { app: "web" }, ports: { "postgres/tcp": 5432 } },
  "shop/db": { labels: { app: "db" }, ports: { "pg/tcp": 5432, "dns/udp": 53 } },
  "shop/bare": {},
};
const fromWeb = "from: [{ podSelector: { matchLabels: { app: web } } }]";
const into = (ports: string): string =>
  shopPolicy(`policyTypes: [Ingress]\ningress: [{ ports: [${ports}], ${fromWeb} }]`);

/** The judgement of NetworkPolicy: 0 on egress, 2 on ingress. */
function denied(objects: string, line: string, at: 0 | 2): Pick<ExplainedJudgement, "near" | "cures"> {
  const { judge, packet } = policyWorld({ pods, objects });
  const judgement = judge.explain(packet(line)).judgements[at];
  assert.equal(judgement?.outcome, "denied");
  return judgement;
}

const rule = "NetworkPolicy shop/p ingress rule 1";

test("a port that the called pod has not named so: the rule is nearly right, and told with the names that there are", () => {
  const { near, cures } = denied(into("{ port: postgres }"), "shop/web > shop/db tcp 5432", 2);
  assert.deepEqual(near, [
    {
      rule,
      missed: "port",
      says: `${rule} knows pod shop/web (10.0.0.1), but pod shop/db has no port named postgres (it has pg tcp 5432, dns udp 53)`,
    },
  ]);
  assert.equal(cures[0], `write pg in place of postgres in ${rule}`);
  const bare = denied(into("{ port: postgres }, { port: 80 }"), "shop/web > shop/bare tcp 5432", 2);
  assert.deepEqual(
    bare.near.map(({ says }) => says),
    [`${rule} knows pod shop/web (10.0.0.1), but pod shop/bare has no port named postgres (it has none with a name)`],
  );
  assert.equal(bare.cures[0], `name tcp 5432 of pod shop/bare postgres, or add it to ${rule} by its number`);
});

test("on egress it is the port of who is called", () => {
  const out = shopPolicy("policyTypes: [Egress]\negress: [{ ports: [{ port: postgres }] }]");
  const { near } = denied(out, "shop/web > shop/db tcp 5432", 0);
  assert.deepEqual(
    near.map(({ says }) => says),
    [
      "NetworkPolicy shop/p egress rule 1 knows pod shop/db (10.0.0.2), but pod shop/db has no port named postgres (it has pg tcp 5432, dns udp 53)",
    ],
  );
});

test("a name is not what is missed where the peer is another, the traffic of another protocol, or the number another", () => {
  assert.deepEqual(denied(into("{ port: postgres }"), "shop/bare > shop/db tcp 5432", 2).near, []);
  assert.deepEqual(denied(into("{ port: postgres }"), "shop/web > shop/db udp 5432", 2).near, []);
  assert.deepEqual(
    denied(into("{ port: pg }"), "shop/web > shop/db tcp 22", 2).near.map(({ says }) => says),
    [`${rule} knows pod shop/web (10.0.0.1), and allows it tcp 5432, not tcp 22`],
  );
});
