// The command lines of the control plane's programs: pure.

import { unreachable } from "../../src/base/assert.ts";
import type { Authority, KeyPair } from "../../lab/certificates.ts";
import { apiPort, type ClusterPlan, mainAddress, perFamily, podRanges, serviceRanges } from "./plan.ts";

export type Component = "etcd" | "kube-apiserver" | "kube-controller-manager" | "kube-scheduler";

export interface ControlFiles {
  authority: Pick<Authority, "certificate" | "key" | "directory">;
  apiServer: KeyPair;
  kubeletClient: KeyPair;
  frontProxy: KeyPair;
  tokens: { publicKey: string; privateKey: string };
}

export interface ComponentOptions {
  plan: ClusterPlan;
  files: ControlFiles;
  /** Where etcd keeps its data. */
  directory: string;
  allocateNodeCidrs: boolean;
}

/** Both listen on loopback in the namespace of the control plane. */
const etcdUrl = "http://127.0.0.1:2379";
const etcdPeerUrl = "http://127.0.0.1:2380";

/** What a component is started with. One copy of each runs, so none waits for a lease of leadership. */
export function componentArguments(component: Component, options: ComponentOptions): string[] {
  const { files } = options;
  switch (component) {
    case "etcd":
      return etcdArguments(options.directory);
    case "kube-apiserver":
      return apiServerArguments(options);
    case "kube-controller-manager":
      return controllerArguments(options);
    case "kube-scheduler":
      return [`--kubeconfig=${files.authority.directory}/kube-scheduler.kubeconfig`, "--leader-elect=false"];
    default:
      return unreachable(component, "component");
  }
}

function etcdArguments(directory: string): string[] {
  return [
    "--name=control",
    `--data-dir=${directory}/etcd`,
    `--listen-client-urls=${etcdUrl}`,
    `--advertise-client-urls=${etcdUrl}`,
    `--listen-peer-urls=${etcdPeerUrl}`,
    `--initial-advertise-peer-urls=${etcdPeerUrl}`,
    `--initial-cluster=control=${etcdPeerUrl}`,
    "--unsafe-no-fsync", // the data need not outlive this computer
    "--log-level=warn",
  ];
}

function apiServerArguments({ plan, files }: ComponentOptions): string[] {
  const { authority, apiServer, kubeletClient, frontProxy, tokens } = files;
  const { control, families } = plan;
  return [
    `--etcd-servers=${etcdUrl}`,
    `--bind-address=${families.includes(6) ? "::" : "0.0.0.0"}`,
    `--advertise-address=${mainAddress(control, families)}`,
    `--secure-port=${apiPort}`,
    `--service-cluster-ip-range=${perFamily(families, serviceRanges)}`,
    "--authorization-mode=Node,RBAC",
    "--enable-admission-plugins=NodeRestriction",
    "--allow-privileged=true",
    `--tls-cert-file=${apiServer.certificate}`,
    `--tls-private-key-file=${apiServer.key}`,
    `--client-ca-file=${authority.certificate}`,
    "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
    `--service-account-key-file=${tokens.publicKey}`,
    `--service-account-signing-key-file=${tokens.privateKey}`,
    `--kubelet-client-certificate=${kubeletClient.certificate}`,
    `--kubelet-client-key=${kubeletClient.key}`,
    `--kubelet-certificate-authority=${authority.certificate}`,
    "--kubelet-preferred-address-types=InternalIP",
    `--requestheader-client-ca-file=${authority.certificate}`,
    "--requestheader-allowed-names=front-proxy-client",
    "--requestheader-username-headers=X-Remote-User",
    "--requestheader-group-headers=X-Remote-Group",
    "--requestheader-extra-headers-prefix=X-Remote-Extra-",
    `--proxy-client-cert-file=${frontProxy.certificate}`,
    `--proxy-client-key-file=${frontProxy.key}`,
  ];
}

function controllerArguments({ plan, files, allocateNodeCidrs }: ComponentOptions): string[] {
  const { authority, tokens } = files;
  const { families, blockPrefixes } = plan;
  const masks =
    families.length === 1
      ? families.map((family) => `--node-cidr-mask-size=${blockPrefixes[family]}`)
      : families.map((family) => `--node-cidr-mask-size-ipv${family}=${blockPrefixes[family]}`);
  return [
    `--kubeconfig=${authority.directory}/kube-controller-manager.kubeconfig`,
    "--leader-elect=false",
    "--use-service-account-credentials=true",
    `--service-account-private-key-file=${tokens.privateKey}`,
    `--root-ca-file=${authority.certificate}`,
    `--cluster-signing-cert-file=${authority.certificate}`,
    `--cluster-signing-key-file=${authority.key}`,
    `--service-cluster-ip-range=${perFamily(families, serviceRanges)}`,
    `--cluster-cidr=${perFamily(families, podRanges)}`,
    `--allocate-node-cidrs=${allocateNodeCidrs}`,
    ...(allocateNodeCidrs ? masks : []),
  ];
}
