// Makes our own kinds known to an API server, by the definitions that a cluster is installed with.

import { readFileSync } from "node:fs";
import { parseAllDocuments } from "yaml";
import type { Kind, Kube, KubeObject } from "../../src/kube/contract.ts";

const read = (file: string): KubeObject[] =>
  parseAllDocuments(readFileSync(new URL(`../../deploy/${file}`, import.meta.url), "utf8")).map(
    (document) => document.toJS() as KubeObject,
  );

const customResourceDefinitions: Kind<KubeObject> = {
  group: "apiextensions.k8s.io",
  version: "v1",
  kind: "CustomResourceDefinition",
  plural: "customresourcedefinitions",
  namespaced: false,
  parse: (raw) => raw as KubeObject,
};

/** Those of deploy/crds.yaml. */
export const definitionsOfOurs = read("crds.yaml");
/** That of deploy/securitygrouppolicy-crd.yaml. */
export const [kindOfAws] = read("securitygrouppolicy-crd.yaml");

/** Brings the kind SecurityGroupPolicy, as clusters on AWS have it. */
export async function defineKindOfAws(kube: Kube): Promise<void> {
  if (kindOfAws !== undefined) await kube.create(customResourceDefinitions, kindOfAws);
}

/** Creates the definitions of deploy/crds.yaml. */
export async function defineOurKinds(kube: Kube): Promise<void> {
  for (const definition of definitionsOfOurs) await kube.create(customResourceDefinitions, definition);
}
