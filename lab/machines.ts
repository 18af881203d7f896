// Machines as network namespaces on one segment: a bridge in a namespace of its own, so that this computer's network is never touched.

import { execOk } from "./exec.ts";
import {
  type ClusterLayout,
  type Family,
  machinesOf,
  type NodeLayout,
  type OutsideLayout,
  wirePrefix,
} from "./layout.ts";
import { makeNetns } from "./netns.ts";
import type { Lab } from "./record.ts";
import { all } from "./waiting.ts";

/**
 * Makes the wire and all machines of `layout`; on return each can reach every other.
 * A machine is what a fresh instance is: loopback and eth0 up, its addresses, a default route if the layout has a gateway.
 */
export async function makeMachines(lab: Lab, layout: ClusterLayout): Promise<void> {
  await all([layout.wireNetns, ...machinesOf(layout).map(({ netns }) => netns)].map((name) => makeNetns(lab, name)));
  await ipBatch(lab, layout.wireNetns, wireCommands(layout));
  await all(machinesOf(layout).map((node) => configureMachine(lab, layout, node)));
  if (layout.outside !== undefined) await makeOutside(lab, layout.wireNetns, layout.outside);
}

/** Makes the wire's namespace a router to the machine outside. */
async function makeOutside(lab: Lab, wireNetns: string, { netns, addresses, gateway }: OutsideLayout): Promise<void> {
  await makeNetns(lab, netns);
  const forwarding = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"];
  await execOk("sysctl", ["-qw", ...forwarding], { env: lab.env, netns: wireNetns });
  await ipBatch(lab, wireNetns, [
    `link add outside type veth peer name eth0 netns ${netns}`,
    ...addressCommands(gateway, "outside"),
    "link set outside up",
    // Machines ask from their link-local address whether the gateway is still there: without one of its own it could not answer.
    "address add fe80::1/64 dev wire nodad",
  ]);
  await ipBatch(lab, netns, [
    "link set lo up",
    ...addressCommands(addresses, "eth0"),
    "link set eth0 up",
    ...Object.values(gateway).map((via) => `route add default via ${via} dev eth0`),
  ]);
}

/** Tells the gateway which node has which pods, so that the machine outside reaches them by their own addresses. */
export async function leadToPods(lab: Lab, { wireNetns, nodes }: ClusterLayout): Promise<void> {
  const families: readonly Family[] = [4, 6];
  const commands = nodes.flatMap(({ blocks, addresses }) =>
    families.flatMap((family) =>
      blocks[family] === undefined ? [] : [`route add ${blocks[family]} via ${addresses[family]} dev wire`],
    ),
  );
  await ipBatch(lab, wireNetns, commands);
}

/** Runs `ip` commands inside a namespace, in order; the first that fails ends it. */
export async function ipBatch(lab: Lab, netns: string, commands: readonly string[]): Promise<void> {
  await execOk("ip", ["-n", netns, "-batch", "-"], { env: lab.env, input: `${commands.join("\n")}\n` });
}

/** Each link is born with its far end already in the machine: none is ever in the namespace that we run in. */
function wireCommands(layout: ClusterLayout): string[] {
  const { gateway } = layout;
  return [
    "link add wire type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
    "link set wire addrgenmode none",
    ...addressCommands(gateway, "wire"),
    "link set wire up",
    ...machinesOf(layout).flatMap(({ netns }, index) => [
      `link add port-${index + 1} type veth peer name eth0 netns ${netns}`,
      `link set port-${index + 1} addrgenmode none master wire`,
      `link set port-${index + 1} up`,
    ]),
  ];
}

async function configureMachine(lab: Lab, { gateway }: ClusterLayout, node: NodeLayout): Promise<void> {
  // A real machine has been up for long: its link-local address is past duplicate detection. Only eth0: links made later keep the default.
  await execOk("sysctl", ["-qw", "net.ipv6.conf.eth0.accept_dad=0"], { env: lab.env, netns: node.netns });
  await ipBatch(lab, node.netns, [
    "link set lo up",
    ...addressCommands(node.addresses, "eth0"),
    "link set eth0 up",
    ...Object.values(gateway).map((via) => `route add default via ${via} dev eth0`),
  ]);
}

function addressCommands(addresses: NodeLayout["addresses"], link: string): string[] {
  const families: readonly Family[] = [4, 6];
  return families.flatMap((family) => {
    const address = addresses[family];
    if (address === undefined) return [];
    return [`address add ${address}/${wirePrefix[family]} dev ${link}${family === 6 ? " nodad" : ""}`];
  });
}
