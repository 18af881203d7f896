// Makes our own kinds known to an API server, by the definitions that a cluster is installed with.

import { readFileSync } from "node:fs";
import { parseAllDocuments } from "yaml";
import type { Kind, Kube, KubeObject } from "../../src/kube/contract.ts";

const file = new URL("../../deploy/crds.yaml", import.meta.url);

const customResourceDefinitions: Kind<KubeObject> = {
  group: "apiextensions.k8s.io",
  version: "v1",
  kind: "CustomResourceDefinition",
  plural: "customresourcedefinitions",
  namespaced: false,
  parse: (raw) => raw as KubeObject,
};

/** Creates the definitions of deploy/crds.yaml. */
export async function defineOurKinds(kube: Kube): Promise<void> {
  for (const document of parseAllDocuments(readFileSync(file, "utf8")))
    await kube.create(customResourceDefinitions, document.toJS() as KubeObject);
}
