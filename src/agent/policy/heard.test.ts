// When an ADD asks the API server itself, what it asks, and what it does where the answer is another one than the watches gave.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Fault, isFault } from "../../base/fault.ts";
import { silentLog } from "../../base/log.ts";
import { within } from "../../base/pause.ts";
import type { Kind, KubeObject, Listing, Selection } from "../../kube/contract.ts";
import { type NetworkPolicy, networkPolicies, securityGroups } from "../../kube/policy-objects.ts";
import { createHeard } from "./heard.ts";

const policy = (version: string): NetworkPolicy =>
  networkPolicies.parse({
    metadata: { namespace: "shop", name: "web", uid: "u", resourceVersion: version },
    spec: { podSelector: {} },
  });

interface Stand {
  /** Another kind, of which nothing is held. */
  other: { fails?: Fault; asked: number };
  heard: (namespace: string) => Promise<void>;
  asked: (string | undefined)[];
  cache: { silentMs: number; failures: number; held: NetworkPolicy[]; renewals: number };
  /** `whileAsked`: what the watch does while the list is under way. */
  server: { has: KubeObject[]; fails?: Fault; renewing: boolean; whileAsked?: () => void };
}

function stand(): Stand {
  const asked: (string | undefined)[] = [];
  const cache = { silentMs: 61_000, failures: 0, held: [policy("1")], renewals: 0, lists: 1 };
  const other: Stand["other"] = { asked: 0 };
  const server: Stand["server"] = { has: [policy("1")], renewing: true };
  const list = async <T extends KubeObject>(kind: Kind<T>, { namespace }: Selection = {}): Promise<Listing<T>> => {
    if (kind.kind === securityGroups.kind) {
      other.asked += 1;
      if (other.fails !== undefined) throw other.fails;
      return { items: [], resourceVersion: "9" };
    }
    asked.push(namespace);
    server.whileAsked?.();
    if (server.fails !== undefined) throw server.fails;
    const items = server.has.filter(({ metadata }) => metadata.namespace === namespace);
    return { items: items.map((object) => kind.parse(object)), resourceVersion: "9" };
  };
  const heard = createHeard({
    kube: { list },
    kinds: [
      {
        kind: networkPolicies,
        cache: {
          all: () => cache.held,
          silentMs: () => cache.silentMs,
          status: () => ({
            kind: "NetworkPolicy",
            objects: 1,
            lists: cache.lists,
            watches: 1,
            events: 0,
            failures: cache.failures,
          }),
          renew: () => {
            cache.renewals += 1;
            if (server.renewing)
              Object.assign(cache, {
                silentMs: 0,
                held: server.has.map((object) => networkPolicies.parse(object)),
                lists: cache.lists + 1,
              });
          },
        },
        within: (namespace) => ({ namespace }),
      },
      {
        kind: securityGroups,
        cache: {
          all: () => [],
          silentMs: () => cache.silentMs,
          status: () => ({ kind: "SecurityGroup", objects: 0, lists: 1, watches: 1, events: 0, failures: 0 }),
          renew: () => assert.fail("nothing was missed of it"),
        },
        within: () => ({}),
      },
    ],
    silentMaxMs: 60_000,
    log: silentLog(),
    signal: new AbortController().signal,
  });
  return { heard, asked, cache, server, other };
}

void test("a watch that was heard lately is believed; a silent one is asked for, once for all who wait and for a while", async () => {
  const { heard, asked, cache } = stand();
  cache.silentMs = 59_000;
  await heard("shop");
  assert.deepEqual(asked, []);
  cache.silentMs = 61_000;
  await Promise.all([heard("shop"), heard("shop")]);
  assert.deepEqual(asked, ["shop"]);
  await heard("shop");
  assert.deepEqual(asked, ["shop"], "it was said just now");
  await heard("bank");
  assert.deepEqual([asked, cache.renewals], [["shop", "bank"], 0]);
});

void test("what the watch has missed has the cache filled anew, and ADD waits for it; in vain it fails", async () => {
  for (const has of [
    [],
    [policy("2")],
    [policy("1"), { ...policy("1"), metadata: { ...policy("1").metadata, name: "b" } }],
  ]) {
    const { heard, cache, server } = stand();
    server.has = has;
    await heard("shop");
    assert.deepEqual([cache.renewals, cache.held], [1, has]);
  }
  const { heard, server } = stand();
  server.has = [];
  server.renewing = false;
  await assert.rejects(
    heard("shop"),
    (error) => isFault(error, "policy-unknown") && /NetworkPolicy/.test(error.message),
  );
});

void test("no answer is an outage, in which what is known goes on; an answer that says nothing fails ADD", async () => {
  const { heard, server, cache, asked } = stand();
  server.fails = new Fault("kube-unreachable", "nobody there");
  await heard("shop");
  server.fails = new Fault("kube-busy", "later");
  await assert.rejects(heard("shop"), (error) => isFault(error, "policy-unknown") && /later/.test(error.message));
  cache.failures = 1;
  await heard("shop");
  assert.equal(asked.length, 2, "what fails already is an outage");
});

void test("what one kind says counts, though another does not answer: the one is renewed, the other goes on as it was", async () => {
  const { heard, cache, server, other } = stand();
  server.has = [policy("2")];
  server.renewing = false;
  other.fails = new Fault("kube-unreachable", "not within its time");
  const waiting = heard("shop");
  assert.equal(await within(100, waiting), false, "the new list is waited for");
  assert.equal(cache.renewals, 1);
  Object.assign(cache, { held: [policy("2")], lists: 2 });
  await waiting;
  await heard("shop");
  assert.equal(other.asked, 2, "who did not answer is asked again");
  assert.equal(cache.renewals, 1);
});

void test("a late word of the old watch is no new list: ADD waits for what it lacks", async () => {
  const { heard, cache, server } = stand();
  server.has = [policy("2")];
  server.renewing = false;
  server.whileAsked = () => (cache.silentMs = 0);
  await assert.rejects(heard("shop"), (error) => isFault(error, "policy-unknown"));
  assert.deepEqual([cache.renewals, cache.held], [1, [policy("1")]]);
});

void test("an object that cannot be read is left out, as the cache leaves it out: nobody's ADD fails by it", async () => {
  const odd = { ...policy("2"), spec: { podSelector: { matchExpressions: [{ key: "a", operator: "in" }] } } };
  for (const held of [[], [policy("1")]]) {
    const { heard, cache, server } = stand();
    server.has = [odd];
    cache.held = held;
    await heard("shop");
    assert.equal(cache.renewals, 0, "its older version is all that can be known");
  }
  const { heard, cache, server } = stand();
  server.has = [odd, { ...policy("3"), metadata: { ...policy("3").metadata, name: "b" } }];
  server.renewing = false;
  await assert.rejects(heard("shop"), (error) => isFault(error, "policy-unknown"));
  assert.equal(cache.renewals, 1, "what can be read beside it counts");
});
