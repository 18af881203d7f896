// Who may leave the source guard: two words, the pod's and its namespace's; anything else is told and counts for nothing.

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Namespace } from "../kube/policy-objects.ts";
import type { Problem } from "./problem.ts";
import { guardProblems, isUnguarded, perPodNamespaces, sourceGuardAnnotation } from "./source-guard.ts";

const namespace = (name: string, text?: string): Namespace => ({
  metadata: { name, ...(text === undefined ? {} : { annotations: { [sourceGuardAnnotation]: text } }) },
});
const problems: Problem[] = [];
const perPod = perPodNamespaces([namespace("vpn", "per-pod"), namespace("shop"), namespace("odd", "off")], problems);

test("both must say so", () => {
  const pod = (of: string, sourceGuard?: string): Parameters<typeof isUnguarded>[0] => ({
    namespace: of,
    name: "p",
    ...(sourceGuard === undefined ? {} : { sourceGuard }),
  });
  const answers = [pod("vpn", "off"), pod("vpn"), pod("vpn", "on"), pod("shop", "off"), pod("odd", "off")].map(
    (one) => [
      isUnguarded(one, perPod),
      guardProblems(one, perPod)
        .map(({ object, message }) => `${object}: ${message}`)
        .join(),
    ],
  );
  const only = "the pod sends from its own addresses only";
  const lacks = (of: string): string =>
    `Pod ${of}/p: counts only where Namespace ${of} has the same annotation with the value per-pod; ${only}`;
  assert.deepEqual(answers, [
    [true, ""],
    [false, ""],
    [false, `Pod vpn/p: "on" is not off; ${only}`],
    [false, lacks("shop")],
    [false, lacks("odd")],
  ]);
});

test("a namespace's word that is not known is told", () => {
  assert.deepEqual(
    problems.map(({ object, message }) => `${object}: ${message}`),
    ['Namespace odd: "off" is not per-pod; its pods send from their own addresses only'],
  );
});
