// One cluster for all tests of a file: made before the first, removed after the last, whatever happened in between.

import { after, before, describe, test } from "node:test";
import { present } from "../../src/base/assert.ts";
import { removeLab } from "../../lab/down.ts";
import { createLab } from "../../lab/record.ts";
import { startWarden } from "../../lab/warden.ts";
import { needsReference } from "../reference/programs.ts";
import { type KubernetesCluster, type KubernetesOptions, startKubernetes } from "./cluster.ts";
import { reasonAgainstFairlead } from "./network-fairlead.ts";
import { buildUpstream } from "./upstream.ts";

/** What a kubelet takes by default. */
export const crowdCount = 110;

/** Adds tests that run on the cluster that `cluster` gives. */
export type Part = (cluster: () => KubernetesCluster) => void;

/** A full node, and what the cluster itself and tests before it have there. */
const podsMax = crowdCount + 20;
const startWithinMs = 400_000;
const endWithinMs = 180_000;

/** Defines the tests of `parts`, in their order, on one cluster. Where this machine cannot have it they are one skipped test that says why. */
export function onCluster(title: string, options: KubernetesOptions, parts: readonly Part[]): void {
  const reason =
    buildUpstream() || needsReference.skip || (options.network === "fairlead" ? reasonAgainstFairlead() : undefined);
  if (reason) {
    void test(title, { skip: reason }, () => {});
    return;
  }
  void describe(title, () => {
    let cluster: KubernetesCluster | undefined;
    const lab = createLab({ name: `kt${process.pid}` });
    const warden = startWarden(lab);
    before(
      async () => {
        cluster = await startKubernetes(lab, { podsMax, ...options });
      },
      { timeout: startWithinMs },
    );
    after(
      async () => {
        await cluster?.end();
        await removeLab(lab.name);
        lab.close();
        warden.dismiss();
      },
      { timeout: endWithinMs },
    );
    for (const part of parts) part(() => present(cluster, "cluster"));
  });
}
