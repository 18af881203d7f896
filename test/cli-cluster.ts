// A cluster as the tool opens one: a small API server, empty or with our kinds, and a kubeconfig that names it.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import { type ApiServer, startApiServer } from "../lab/kube/server.ts";
import { openCluster, type OpenCluster } from "../src/cli/cluster/open.ts";
import type { Kube } from "../src/kube/contract.ts";
import { defineKind, meta } from "../src/kube/schema.ts";

export interface TestCluster {
  server: ApiServer;
  cluster: OpenCluster;
}

/** An empty API server, and a kubeconfig that names it. */
export async function emptyCluster(t: TestContext): Promise<TestCluster> {
  const server = await startApiServer();
  const directory = mkdtempSync(join(tmpdir(), "fairlead-cli-"));
  const file = join(directory, "config");
  const config = {
    "current-context": "lab",
    contexts: [{ name: "lab", context: { cluster: "lab" } }],
    clusters: [{ name: "lab", cluster: { server: server.url } }],
  };
  writeFileSync(file, JSON.stringify(config));
  const cluster = await openCluster({ kubeconfig: file }, "0.0.0");
  t.after(async () => {
    await cluster.kube.close();
    await server.close();
    rmSync(directory, { recursive: true });
  });
  return { server, cluster };
}

const crdSchema = z.looseObject({ metadata: meta });
export const crds = defineKind(
  {
    group: "apiextensions.k8s.io",
    version: "v1",
    kind: "CustomResourceDefinition",
    plural: "customresourcedefinitions",
    namespaced: false,
  },
  crdSchema,
);

/** Makes our kinds known, as deploy/ has them. */
export async function installKinds(kube: Kube): Promise<void> {
  for (const document of parseAllDocuments(readFileSync("deploy/crds.yaml", "utf8"))) {
    await kube.create(crds, crdSchema.parse(document.toJS()));
  }
}
