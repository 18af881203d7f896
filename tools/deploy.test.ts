// deploy/: the whole equals its parts, one version, files that agree with each other, and no right that no program uses.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { parse, parseAllDocuments } from "yaml";
import { agentConfigSchemaFor } from "../src/agent/config.ts";
import { parseConfig } from "../src/base/config.ts";
import { controllerConfigSchema } from "../src/controller/config.ts";
import { breakGlassAnnotation, breakGlassMaxMs } from "../src/policy/break-glass.ts";
import { installFile, installText, uninstallFile, uninstallText } from "./deploy.ts";
import { imageName } from "./image/archive.ts";

interface Container {
  name: string;
  image: string;
  args?: string[];
  command?: string[];
  ports?: { name: string; containerPort: number }[];
  volumeMounts?: { name: string; mountPath: string; readOnly?: boolean }[];
  livenessProbe?: { httpGet: { host: string; port: string } };
  readinessProbe?: { httpGet: { host: string; port: string } };
}

interface Manifest {
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string> };
  data?: Record<string, string>;
  spec?: {
    template?: {
      spec: {
        containers: Container[];
        initContainers?: Container[];
        volumes: { name: string; hostPath?: { path: string } }[];
      };
    };
  };
}

const manifests = (text: string): Manifest[] =>
  parseAllDocuments(text).map((document) => {
    assert.deepEqual(document.errors, []);
    return document.toJS() as Manifest;
  });
const installed = manifests(installText());
const find = (kind: string, name: string, from = installed): Manifest => {
  const found = from.filter((manifest) => manifest.kind === kind && manifest.metadata.name === name);
  assert.equal(found.length, 1, `one ${kind} ${name}`);
  return found[0] as Manifest;
};
const [daemonSet, deployment, config] = [
  find("DaemonSet", "fairlead-agent"),
  find("Deployment", "fairlead-controller"),
  find("ConfigMap", "fairlead-config"),
];
const uninstall = find("DaemonSet", "fairlead-agent", manifests(uninstallText()));
const containersOf = ({ spec }: Manifest): Container[] => [
  ...(spec?.template?.spec.initContainers ?? []),
  ...(spec?.template?.spec.containers ?? []),
];
const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  version: string;
};

test("deploy/fairlead.yaml and uninstall.yaml are made from the parts; node tools/deploy.ts makes them anew", () => {
  assert.equal(readFileSync(installFile, "utf8"), installText());
  assert.equal(readFileSync(uninstallFile, "utf8"), uninstallText());
});

test("admission of break-glass is about the annotation that nodes read, and as long as they let it be", () => {
  const text = JSON.stringify(find("ValidatingAdmissionPolicy", "fairlead-break-glass"));
  const hours = breakGlassMaxMs / 3_600_000;
  assert.ok(text.includes(`duration(\\"${hours}h\\")`), text);
  assert.ok(text.includes(`annotations[\\"${breakGlassAnnotation}\\"]`), text);
});

test("every container is of the image that make image makes", () => {
  for (const workload of [daemonSet, deployment, uninstall]) {
    for (const { image } of containersOf(workload)) assert.equal(image, imageName(version));
  }
});

test("both programs take their file of the ConfigMap", () => {
  const agent = parseConfig(agentConfigSchemaFor("node-1"), config.data?.["agent.yaml"] ?? "", "agent.yaml");
  const controller = parseConfig(controllerConfigSchema, config.data?.["controller.yaml"] ?? "", "controller.yaml");
  assert.deepEqual([agent.kubernetes, agent.addresses.blocks, agent.masquerade.enabled], [{}, [], true]);
  assert.deepEqual([controller.assign, controller.provider], ["cluster", "none"]);
  assert.equal(controller.lease.namespace, daemonSet.metadata.namespace, "where its Role lets it write a lease");
});

test("a kubelet asks where the programs listen", () => {
  const agent = parseConfig(agentConfigSchemaFor("node-1"), config.data?.["agent.yaml"] ?? "", "agent.yaml");
  const controller = parseConfig(controllerConfigSchema, config.data?.["controller.yaml"] ?? "", "controller.yaml");
  for (const [workload, port] of [
    [daemonSet, agent.probes?.port],
    [deployment, controller.status.port],
  ] as const) {
    const [container] = containersOf(workload);
    for (const probe of [container?.livenessProbe, container?.readinessProbe]) {
      assert.equal(probe?.httpGet.host, "127.0.0.1");
      const named = container?.ports?.find(({ name }) => name === probe?.httpGet.port);
      assert.equal(named?.containerPort, port, workload.metadata.name);
    }
  }
});

test("what the agent writes outside of its image is mounted from the host, at the paths of its configuration", () => {
  const { paths } = parseConfig(agentConfigSchemaFor("node-1"), config.data?.["agent.yaml"] ?? "", "agent.yaml");
  const [container] = containersOf(daemonSet);
  const volumes = daemonSet.spec?.template?.spec.volumes ?? [];
  const hostPathAt = (mountPath: string): string | undefined => {
    const mount = container?.volumeMounts?.find((each) => each.mountPath === mountPath);
    return volumes.find(({ name }) => name === mount?.name)?.hostPath?.path;
  };
  assert.equal(hostPathAt(paths.socket.slice(0, paths.socket.lastIndexOf("/"))), "/run/fairlead");
  assert.equal(hostPathAt(paths.state), "/var/lib/fairlead");
  assert.equal(hostPathAt(paths.cniBin), "/opt/cni/bin");
  assert.equal(hostPathAt(paths.cniConf), "/etc/cni/net.d");
  assert.equal(hostPathAt(`${paths.etc}/systemd`), "/etc/systemd");
  assert.equal(hostPathAt(`${paths.etc}/NetworkManager`), "/etc/NetworkManager");
  assert.equal(hostPathAt("/host/proc/sys/net"), "/proc/sys/net", "where native/netns.c looks");
  for (const { name } of volumes)
    assert.ok(
      container?.volumeMounts?.some((mount) => mount.name === name),
      name,
    );
});

test("uninstall.yaml takes the agents' place, with their rights and mounts", () => {
  const [undoing, done] = containersOf(uninstall);
  const [agent] = containersOf(daemonSet);
  assert.deepEqual(uninstall.metadata, daemonSet.metadata);
  assert.deepEqual(undoing?.args, ["uninstall", ...(agent?.args ?? []).slice(1)]);
  assert.deepEqual(undoing?.volumeMounts, agent?.volumeMounts);
  assert.equal(done?.volumeMounts, undefined);
});

test("a part that a tool of YAML reads otherwise than it looks would be found: no key twice, no document empty", () => {
  for (const manifest of installed) assert.ok(manifest.kind !== undefined && manifest.metadata.name !== undefined);
  assert.equal(new Set(installed.map(({ kind, metadata }) => `${kind}/${metadata.name}`)).size, installed.length);
  assert.ok(parse(config.data?.["agent.yaml"] ?? "") !== null);
});
