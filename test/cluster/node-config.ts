// The configuration files of a node's programs: pure.

import { stringify } from "yaml";
import type { Family } from "../../lab/layout.ts";
import type { KeyPair } from "../../lab/certificates.ts";
import { clusterDomain, dnsServiceAddresses, perFamily, podRanges } from "./plan.ts";

/** Folders of a node, as every kubelet and runtime has them by default. */
export const nodePaths = {
  containerdSocket: "/run/containerd/containerd.sock",
  cniConf: "/etc/cni/net.d",
  cniBin: "/opt/cni/bin",
  staticPods: "/etc/kubernetes/manifests",
  registries: "/etc/containerd/certs.d",
} as const;

export type ProxyMode = "nftables" | "iptables";

/** Descriptors a process may have here: more is not given to root without CAP_SYS_RESOURCE. */
const openFilesMax = 20_000;

/** A registry that refuses at once: an image that is not there shall fail, not wait for a name server. */
export const closedRegistry = 'server = "http://127.0.0.1:1"\n';

/** containerd's configuration (its docs/cri/config.md). The settings on oom_score serve a root without CAP_SYS_RESOURCE. */
export function containerdConfig(runc: string, pauseImage: string): string {
  return `version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
oom_score = 0

[grpc]
address = "${nodePaths.containerdSocket}"

[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"

[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "${pauseImage}"

[plugins."io.containerd.cri.v1.images".registry]
config_path = "${nodePaths.registries}"

[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["${nodePaths.cniBin}"]
conf_dir = "${nodePaths.cniConf}"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "${runc}"
SystemdCgroup = false
`;
}

export interface KubeletOptions {
  families: readonly Family[];
  authority: string;
  keys: KeyPair;
  /** The cgroup below which pods get theirs, from the top of each hierarchy: "/flab-x-node-1". */
  cgroup: string;
  podsMax: number;
}

/** kubelet's configuration (KubeletConfiguration v1beta1). */
export function kubeletConfig({ families, authority, keys, cgroup, podsMax }: KubeletOptions): string {
  return stringify({
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    authentication: { x509: { clientCAFile: authority }, webhook: { enabled: true }, anonymous: { enabled: false } },
    authorization: { mode: "Webhook" },
    tlsCertFile: keys.certificate,
    tlsPrivateKeyFile: keys.key,
    containerRuntimeEndpoint: `unix://${nodePaths.containerdSocket}`,
    staticPodPath: nodePaths.staticPods,
    volumePluginDir: "/var/lib/kubelet/volume-plugins", // the default is under /usr, which is this computer's
    clusterDomain,
    clusterDNS: families.map((family) => dnsServiceAddresses[family]),
    resolvConf: "",
    cgroupDriver: "cgroupfs",
    cgroupRoot: cgroup,
    failCgroupV1: false,
    failSwapOn: false,
    oomScoreAdj: 0,
    maxOpenFiles: openFilesMax,
    maxPods: podsMax,
    serializeImagePulls: false,
    // The disk is the computer's: how full it is is not the cluster's business.
    evictionHard: { "memory.available": "50Mi", "nodefs.available": "0.1%", "imagefs.available": "0.1%" },
    imageGCHighThresholdPercent: 100,
  });
}

export interface ProxyOptions {
  families: readonly Family[];
  kubeconfig: string;
  node: string;
  mode: ProxyMode;
}

/** kube-proxy's configuration (KubeProxyConfiguration v1alpha1). Limits of connection tracking belong to the computer: 0 leaves them alone. */
export function proxyConfig({ families, kubeconfig, node, mode }: ProxyOptions): string {
  return stringify({
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    clientConnection: { kubeconfig },
    hostnameOverride: node,
    mode,
    detectLocalMode: "ClusterCIDR",
    clusterCIDR: perFamily(families, podRanges),
    oomScoreAdj: 0,
    conntrack: { maxPerCore: 0, min: 0 },
  });
}
