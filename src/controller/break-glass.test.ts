// Events of break-glass: while it lasts, when it ends, and where it is refused; each once and not with every pass.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createLife } from "../../test/controller/crossing.ts";
import { startReplica } from "../../test/controller/replica.ts";
import { createWorld } from "../../test/controller/world.ts";
import { events, nodes } from "../kube/core-objects.ts";
import { namespaces } from "../kube/policy-objects.ts";
import { breakGlassAnnotation } from "../policy/break-glass.ts";
import { createBreakGlassTeller } from "./break-glass.ts";

const hourMs = 3_600_000;

test("people hear of break-glass on the object that has it: while it lasts, when it is over, and where it is refused", async (t) => {
  const world = await createWorld({ assign: "cluster", ranges: [], serviceRanges: [] });
  const replica = await startReplica(world, createLife());
  t.after(async () => {
    await replica.close();
    await world.close();
  });
  const forHours = (hours: number): string =>
    `${new Date(world.nowMs).toISOString()}/${new Date(world.nowMs + hours * hourMs).toISOString()}`;
  const annotated = (text: string): { type: "merge"; body: object } => ({
    type: "merge",
    body: { metadata: { annotations: { [breakGlassAnnotation]: text } } },
  });
  const told = async (): Promise<string[]> =>
    (await world.kube.list(events)).items
      .map(({ involvedObject: { kind, name }, reason, message }) => `${kind} ${name} ${reason}: ${message}`)
      .toSorted();
  const { sync, dueMs } = createBreakGlassTeller(replica.deps);
  const { signal } = new AbortController();
  const pass = async (): Promise<void> => {
    await replica.catchUp();
    await sync(signal);
  };
  await world.addNode("n1");
  await world.kube.create(namespaces, { metadata: { name: "shop" } });
  await pass();
  assert.deepEqual(await told(), []);

  await world.kube.patch(namespaces, { name: "shop" }, annotated(forHours(0.01)));
  await world.kube.patch(nodes, { name: "n1" }, annotated(forHours(25)));
  await pass();
  await pass();
  const until = new Date(world.nowMs + 0.01 * hourMs).toISOString().replace(".000Z", "Z");
  const [broken, refused, ...more] = await told();
  assert.equal(
    broken,
    `Namespace shop BreakGlass: policy denies its pods nothing: break-glass of Namespace shop until ${until}`,
  );
  assert.match(refused ?? "", /^Node n1 BreakGlassRefused: .* lasts longer than 24 hours/);
  assert.deepEqual(more, []);
  assert.equal(dueMs(), 36_000, "it looks again when that ends");

  world.nowMs += 36_000;
  await pass();
  assert.ok((await told()).includes("Namespace shop BreakGlassEnded: policy judges its pods again"));
});
