// The two plugins that are compared: how each is called for a pod, and what its answer must hold to count.

import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { Fault } from "../src/base/fault.ts";
import { type Cidr, cidrContains, parseInterfaceAddress } from "../src/net/cidr.ts";
import { execOk } from "../lab/exec.ts";
import { readJson } from "../lab/json.ts";
import type { NodeLayout } from "../lab/layout.ts";
import { netnsPath } from "../lab/netns.ts";
import type { Invocation, Run } from "./spawner.ts";

const referenceDirectory = fileURLToPath(new URL("../build/reference", import.meta.url));
const cniVersion = "1.0.0";
const programPath = "/usr/sbin:/usr/bin:/sbin:/bin";

/** A plugin as a runtime would call it on one node. */
export interface Plugin {
  name: "ours" | "reference";
  node: Pick<NodeLayout, "name" | "netns" | "blocks">;
  /** Where its per-pod files lie. */
  directory: string;
  binary: string;
  cniPath: string;
  /** Variables beside those of the protocol. */
  env: Readonly<Record<string, string>>;
  /** What the runtime writes to its stdin, less prevResult. */
  config: Readonly<Record<string, unknown>>;
}

export interface Pod {
  netns: string;
  containerId: string;
  /** Who it is in Kubernetes, as a runtime says it in CNI_ARGS. */
  args?: string;
}

/** The plugin under test: the binary that the agent installed, talking to that agent. */
export function ourPlugin(node: NodeLayout): Plugin {
  return {
    name: "ours",
    node,
    directory: makeDirectory(`${node.directory}/bench`),
    binary: `${node.directory}/bin/fairlead-cni`,
    cniPath: `${node.directory}/bin`,
    env: { FAIRLEAD_SOCKET: `${node.directory}/cni.sock` },
    config: { cniVersion, name: "fairlead", type: "fairlead-cni" },
  };
}

/** ptp with host-local, configured as GKE does: one subnet a family, default routes. Its reservations lie where our state lies too. */
export function referencePlugin(node: NodeLayout): Plugin {
  const blocks = Object.values(node.blocks);
  return {
    name: "reference",
    node,
    directory: makeDirectory(`${node.directory}/bench`),
    binary: `${referenceDirectory}/ptp`,
    cniPath: referenceDirectory,
    env: {},
    config: {
      cniVersion,
      name: "reference",
      type: "ptp",
      mtu: 1500,
      ipam: {
        type: "host-local",
        dataDir: `${node.directory}/state`,
        ranges: blocks.map((subnet) => [{ subnet }]),
        routes: blocks.map((subnet) => ({ dst: subnet.includes(":") ? "::/0" : "0.0.0.0/0" })),
      },
    },
  };
}

function makeDirectory(path: string): string {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  return path;
}

/** A pod of which nothing is known yet but its namespace. */
export const newPod = (netns: string): Pod => ({ netns, containerId: randomBytes(32).toString("hex") });

/** One call of the protocol (CNI specification 1.1, section 2); its input is a file of its own. `prevResult`: what ADD printed, for DEL. */
export function invocation(plugin: Plugin, verb: "ADD" | "DEL", pod: Pod, prevResult?: string): Invocation {
  const stdinFile = `${plugin.directory}/stdin-${verb}-${pod.netns}`;
  const previous =
    prevResult === undefined ? {} : { prevResult: readJson(z.looseObject({}), prevResult, "the result of ADD") };
  writeFileSync(stdinFile, JSON.stringify({ ...plugin.config, ...previous }), { mode: 0o600 });
  return {
    argv: [plugin.binary],
    env: {
      ...plugin.env,
      PATH: programPath,
      CNI_COMMAND: verb,
      CNI_CONTAINERID: pod.containerId,
      CNI_NETNS: netnsPath(pod.netns),
      CNI_IFNAME: "eth0",
      CNI_PATH: plugin.cniPath,
      ...(pod.args === undefined ? {} : { CNI_ARGS: pod.args }),
    },
    stdinFile,
  };
}

/** A call of GC that keeps `pods` (CNI specification 1.1, "GC"). */
export function collection(plugin: Plugin, pods: readonly Pod[]): Invocation {
  const stdinFile = `${plugin.directory}/stdin-GC`;
  const valid = pods.map(({ containerId }) => ({ containerID: containerId, ifname: "eth0" }));
  const config = { ...plugin.config, cniVersion: "1.1.0", "cni.dev/valid-attachments": valid };
  writeFileSync(stdinFile, JSON.stringify(config), { mode: 0o600 });
  const env = { ...plugin.env, PATH: programPath, CNI_COMMAND: "GC", CNI_PATH: plugin.cniPath };
  return { argv: [plugin.binary], env, stdinFile };
}

const resultSchema = z.looseObject({ ips: z.array(z.looseObject({ address: z.string() })) });
const linksSchema = z.array(
  z.looseObject({
    operstate: z.string(),
    addr_info: z.array(z.looseObject({ local: z.string(), scope: z.string(), tentative: z.boolean().optional() })),
  }),
);

/**
 * Holds an ADD against what it must have done: exit 0, one address of each block in its answer, and just these on the pod's link, usable now.
 * @throws Fault "lab-failed" with what is wrong: a plugin that does less is not faster.
 */
export async function verifyAdd(
  plugin: Pick<Plugin, "name" | "node">,
  pod: Pod,
  run: Run,
  env: Readonly<Record<string, string>>,
): Promise<void> {
  const wrong = (text: string): Fault =>
    new Fault("lab-failed", `ADD of ${plugin.name} in ${pod.netns}: ${text}: ${run.stdout.slice(0, 1000)}`);
  if (run.exit !== 0) throw wrong(`exit ${run.exit}`);
  const addresses = readJson(resultSchema, run.stdout, "the result of ADD").ips.map(({ address }) => {
    const parsed = parseInterfaceAddress(address);
    if (parsed === undefined) throw wrong(`${address} is no address`);
    return parsed.address;
  });
  const blocks: Cidr[] = Object.values(plugin.node.blocks);
  const served = blocks.every((block) => addresses.filter((address) => cidrContains(block, address)).length === 1);
  if (!served || addresses.length !== blocks.length) throw wrong(`not one address of each of ${blocks.join(", ")}`);
  const text = await execOk("ip", ["-n", pod.netns, "-json", "address", "show", "dev", "eth0"], { env });
  const [link] = readJson(linksSchema, text, "ip -json address");
  const present = link?.addr_info.filter(({ scope }) => scope === "global") ?? [];
  if (link?.operstate !== "UP") throw wrong(`the pod's link is ${link?.operstate ?? "missing"}`);
  if (present.some(({ tentative }) => tentative === true)) throw wrong("an address is still tentative");
  const found = present.map(({ local }) => local).sort();
  if (found.join() !== [...addresses].sort().join())
    throw wrong(`the pod's link has ${found.join(", ") || "no address"}`);
}

/** @throws Fault "lab-failed" where a DEL did not succeed or printed something. */
export function verifyDel(plugin: Pick<Plugin, "name">, pod: Pod, run: Run): void {
  if (run.exit === 0 && run.stdout === "") return;
  throw new Fault(
    "lab-failed",
    `DEL of ${plugin.name} in ${pod.netns}: exit ${run.exit}: ${run.stdout.slice(0, 1000)}`,
  );
}
