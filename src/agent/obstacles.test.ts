// Other programs' chains: which of them stand in pods' way, what is said of them, and that it is said once.

import assert from "node:assert/strict";
import { test } from "node:test";
import pino from "pino";
import { createFakeKernel } from "../kernel/fake.ts";
import type { ForwardChain } from "../kernel/contract.ts";
import { createObstacleWatch, obstaclesIn } from "./obstacles.ts";

const docker: ForwardChain = { family: "ip", table: "filter", chain: "FORWARD", policy: "drop" };

test("a policy of drop is named with table, chain and cure; a policy of accept is none", () => {
  assert.deepEqual(obstaclesIn([{ ...docker, policy: "accept" }]), []);
  const [found] = obstaclesIn([docker]);
  assert.match(found?.what ?? "", /chain FORWARD of table ip filter drops .* iptables \(Docker, ufw/);
  assert.match(found?.cure ?? "", /iptables -I FORWARD -i fl\+ -j ACCEPT; iptables -I FORWARD -o fl\+ -j ACCEPT/);
  const [own] = obstaclesIn([{ family: "inet", table: "mine", chain: "fw", policy: "drop" }]);
  assert.match(own?.cure ?? "", /nft insert rule inet mine fw iifname "fl\*" accept/);
});

test("firewalld is known by its chain, whatever its policy", () => {
  const [found] = obstaclesIn([{ family: "inet", table: "firewalld", chain: "filter_FORWARD", policy: "accept" }]);
  assert.match(found?.what ?? "", /firewalld rejects/);
  assert.match(found?.cure ?? "", /--add-interface=fl\+/);
});

test("what is in the way is told when it comes and when it goes, and not in between", async () => {
  const lines: string[] = [];
  const log = pino({}, { write: (line) => void lines.push(line) });
  const kernel = createFakeKernel();
  let chains: ForwardChain[] = [];
  const { look, found } = createObstacleWatch({ kernel: { ...kernel, forwardChains: async () => chains }, log });
  await look();
  assert.deepEqual([lines.length, found().length], [0, 0]);
  chains = [docker];
  for (let time = 0; time < 3; time += 1) await look();
  assert.deepEqual([lines.length, found().length], [1, 1]);
  chains = [];
  for (let time = 0; time < 3; time += 1) await look();
  assert.deepEqual([lines.length, found().length], [2, 0]);
  assert.match(lines[1] ?? "", /no longer in the way/);
});
