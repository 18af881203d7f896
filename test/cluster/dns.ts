// CoreDNS in a test cluster, as kubeadm and its like install it: pods look names up at the cluster's own address.

import type { Family } from "../../lab/layout.ts";
import { imageNames } from "./images.ts";
import type { KubeObject } from "./objects.ts";
import { clusterDomain, dnsServiceAddresses } from "./plan.ts";

const name = "coredns";
const namespace = "kube-system";
const labels = { "k8s-app": "kube-dns" };

/** No forward to anywhere: there is no resolver outside. Answers are kept for a short time, so that tests see changes. */
const corefile = `.:53 {
    errors
    health
    ready
    kubernetes ${clusterDomain} in-addr.arpa ip6.arpa {
        pods insecure
        ttl 1
    }
    cache 1
    loadbalance
}
`;

/** Everything that is to be applied for names to resolve. */
export function dnsObjects(families: readonly Family[]): KubeObject[] {
  const addresses = families.map((family) => dnsServiceAddresses[family]);
  const rbac = "rbac.authorization.k8s.io";
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name, namespace } },
    {
      apiVersion: `${rbac}/v1`,
      kind: "ClusterRole",
      metadata: { name },
      rules: [
        { apiGroups: [""], resources: ["services", "pods", "namespaces"], verbs: ["list", "watch"] },
        { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"] },
      ],
    },
    {
      apiVersion: `${rbac}/v1`,
      kind: "ClusterRoleBinding",
      metadata: { name },
      roleRef: { apiGroup: rbac, kind: "ClusterRole", name },
      subjects: [{ kind: "ServiceAccount", name, namespace }],
    },
    { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace }, data: { Corefile: corefile } },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name, namespace },
      spec: { replicas: 1, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: podSpec() } },
    },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "kube-dns", namespace },
      spec: {
        selector: labels,
        clusterIP: addresses[0],
        clusterIPs: addresses,
        ipFamilyPolicy: families.length > 1 ? "RequireDualStack" : "SingleStack",
        ports: [
          { name: "dns", port: 53, protocol: "UDP" },
          { name: "dns-tcp", port: 53, protocol: "TCP" },
        ],
      },
    },
  ];
}

function podSpec(): object {
  return {
    serviceAccountName: name,
    priorityClassName: "system-cluster-critical",
    dnsPolicy: "Default",
    terminationGracePeriodSeconds: 0,
    containers: [
      {
        name,
        image: imageNames.coredns,
        imagePullPolicy: "Never",
        args: ["-conf", "/etc/coredns/Corefile"],
        volumeMounts: [{ name: "config", mountPath: "/etc/coredns", readOnly: true }],
        readinessProbe: { httpGet: { path: "/ready", port: 8181 }, periodSeconds: 1 },
        securityContext: { capabilities: { add: ["NET_BIND_SERVICE"], drop: ["ALL"] } },
      },
    ],
    volumes: [{ name: "config", configMap: { name } }],
  };
}
