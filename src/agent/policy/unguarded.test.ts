// Links that may send from any address: what ADD has let is known, and closed where nobody says so any more.

import assert from "node:assert/strict";
import { test } from "node:test";
import { present } from "../../base/assert.ts";
import { silentLog } from "../../base/log.ts";
import { isWired } from "../../ipam/store.ts";
import { startFakeNode } from "../../../test/model/fake-node.ts";
import { anySource } from "../plan.ts";
import { createUnguarded } from "./unguarded.ts";

void test("a link that ADD has let go out of the guard is closed by the first pass that does not know of it", async () => {
  const node = await startFakeNode();
  await node.add("vpn");
  const { attachment } = present(node.core.pool.all()[0], "attachment");
  assert.ok(isWired(attachment));
  const { guard } = node.machine.kernel;
  const { hostLink } = attachment.wire;
  const isOpen = async (): Promise<boolean> =>
    (await guard.list())?.some(({ link, address }) => link === hostLink && address === "any") === true;
  const unguarded = createUnguarded({ guard, log: silentLog() });
  await unguarded.follow([]);
  const pod = {
    namespace: "shop",
    name: "vpn",
    uid: "vpn",
    labels: {},
    serviceAccount: "default",
    node: "a",
    addresses: [],
    ports: [],
  };
  const judged = {
    key: "vpn",
    attachment,
    pod,
    isKnown: true,
    isUnguarded: true,
    problems: [],
    egress: [],
    ingress: [],
  };
  unguarded.note(judged);
  await guard.admit([anySource(hostLink)]);
  assert.equal(await isOpen(), true);
  await unguarded.follow([{ ...judged, isUnguarded: false }]);
  assert.equal(await isOpen(), false);
});
