// Kubernetes objects that tests make, as short to say as they are to read: pure.

import { imageNames } from "./images.ts";

/** Any object of the API, as it is sent. */
export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: { name: string; [field: string]: unknown };
  [field: string]: unknown;
}

/** What a pod serves: its name at /hostname, the caller's address at /clientip, on TCP and (`echo`, `clientip`) on UDP. */
export const serverPort = 8080;
export const serverUdpPort = 8081;

export interface PodOptions {
  /** The node on which it must be; the scheduler's choice if absent. */
  node?: string;
  labels?: Readonly<Record<string, string>>;
  /** agnhost's words; a server if absent. */
  args?: readonly string[];
  /** A program in place of agnhost. */
  command?: readonly string[];
  hostNetwork?: boolean;
  /** Fields of the container, added to the usual ones. */
  container?: Readonly<Record<string, unknown>>;
  /** Fields of the pod's specification, added to the usual ones. */
  spec?: Readonly<Record<string, unknown>>;
}

const serverArgs = ["netexec", `--http-port=${serverPort}`, `--udp-port=${serverUdpPort}`];
/** Without it a pod is Ready before its server listens. */
const serverProbe = { httpGet: { path: "/healthz", port: serverPort }, periodSeconds: 1 };

/** A pod's specification: one container of the test image. With no grace at all its object would be gone before its kubelet knows. */
export function podSpec(options: PodOptions = {}): Record<string, unknown> {
  const { node, args = serverArgs, command, hostNetwork = false, container = {}, spec = {} } = options;
  return {
    terminationGracePeriodSeconds: 1,
    // A node's name among labels binds to the node through the scheduler, unlike spec.nodeName, which goes past it.
    ...(node === undefined ? {} : { nodeSelector: { "kubernetes.io/hostname": node } }),
    ...(hostNetwork ? { hostNetwork: true } : {}),
    containers: [
      {
        name: "main",
        image: imageNames.agnhost,
        imagePullPolicy: "Never",
        ...(command === undefined ? { args } : { command }),
        ...(command === undefined && args === serverArgs ? { readinessProbe: serverProbe } : {}),
        ...container,
      },
    ],
    ...spec,
  };
}

export function pod(name: string, options: PodOptions = {}): KubeObject {
  const { labels = { app: name } } = options;
  return { apiVersion: "v1", kind: "Pod", metadata: { name, labels }, spec: podSpec(options) };
}

/** A deployment whose pods carry the label app=NAME. */
export function deployment(name: string, replicas: number, options: PodOptions = {}): KubeObject {
  const labels = { app: name };
  return {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name },
    spec: { replicas, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: podSpec(options) } },
  };
}

/** A service for the pods with the label app=APP, on all families of the cluster: TCP 80, and UDP 81. */
export function service(name: string, app: string, spec: Readonly<Record<string, unknown>> = {}): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name },
    spec: {
      ipFamilyPolicy: "PreferDualStack",
      selector: { app },
      ports: [
        { name: "http", port: 80, targetPort: serverPort },
        { name: "udp", port: 81, targetPort: serverUdpPort, protocol: "UDP" },
      ],
      ...spec,
    },
  };
}
