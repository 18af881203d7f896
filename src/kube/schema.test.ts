// Objects as servers write them: null stands for absent, unknown keys are left behind, what is wrong is refused.

import assert from "node:assert/strict";
import { test } from "node:test";
import { events, nodes, pods } from "./core-objects.ts";

test("what a server writes as null is absent", () => {
  const condition = { type: "Ready", status: "True", lastHeartbeatTime: null, lastTransitionTime: null };
  const node = nodes.parse({
    metadata: { name: "n1", creationTimestamp: null, labels: null },
    spec: null,
    status: { conditions: [condition], addresses: null },
  });
  assert.deepEqual(node, {
    metadata: { name: "n1" },
    spec: {},
    status: { conditions: [{ type: "Ready", status: "True" }] },
  });
  const event = { metadata: { name: "e" }, involvedObject: { kind: "Pod", name: "p" }, firstTimestamp: null };
  assert.deepEqual(events.parse(event), {
    metadata: { name: "e" },
    involvedObject: { kind: "Pod", name: "p" },
  });
});

test("what must be there may not be null, and unknown keys are left behind", () => {
  assert.throws(() => pods.parse({ metadata: { name: null } }));
  assert.throws(() => pods.parse(null));
  assert.deepEqual(pods.parse({ metadata: { name: "p", managedFields: [{}] }, spec: { containers: [{}] }, extra: 1 }), {
    metadata: { name: "p" },
    spec: {},
    status: {},
  });
});
