// A node with three pods, a machine outside and one behind it by a narrow way: for tests of policy with real packets.

import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { loadAddon } from "../src/kernel/addon.ts";
import { createConntrack } from "../src/kernel/conntrack/conntrack.ts";
import type { Conntrack, PolicyTable } from "../src/kernel/contract.ts";
import { createSequence } from "../src/kernel/netlink/message.ts";
import { createPolicyTable } from "../src/kernel/nftables/policy.ts";
import { addPod, at as masqAt, ip, type Running, runIn } from "./masq-stage.ts";
import { type TestNetns, makeNetns } from "./netns.ts";
import { until } from "./until.ts";

/** Addresses by family. */
export const at = {
  one: { 4: "10.4.1.2", 6: "fd00:10:4:1::2" },
  two: { 4: "10.4.1.3", 6: "fd00:10:4:1::3" },
  three: { 4: "10.4.1.4", 6: "fd00:10:4:1::4" },
  node: masqAt.node,
  outside: { 4: "172.30.0.1", 6: "fd00:30::1" },
  /** Nobody answers there: what is too big is refused on the way. */
  beyond: { 4: "198.51.100.9", 6: "2001:db8:51::9" },
} as const;
export const pods = { one: "fl1", two: "fl2", three: "fl3" } as const;
export type Pod = keyof typeof pods;
export type Machine = Pod | "outside" | "node";

/** Every machine answers on these, by TCP and UDP. */
export const ports = [8080, 5432, 9090] as const;
/** Bytes that fit through the way to `at.beyond`. */
export const narrowMtu = 1300;

/** Serves, and tries what it is told: "tcp ADDRESS PORT MS" and the like, many at once; answers "yes", "reset" or "no" for each. */
const program = `
import os, socket, struct, sys, threading
ports = [int(port) for port in sys.argv[1].split(",")]
def tcp(listener):
    while True:
        peer, _ = listener.accept()
        threading.Thread(target=talk, args=(peer,), daemon=True).start()
def talk(peer):
    try:
        while data := peer.recv(64):
            peer.send(data)
    except OSError:
        pass
def udp(bound):
    while True:
        data, name = bound.recvfrom(2000)
        bound.sendto(data, name)
for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
    for port in ports:
        for kind, serve in ((socket.SOCK_STREAM, tcp), (socket.SOCK_DGRAM, udp)):
            sock = socket.socket(family, kind)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
            if kind == socket.SOCK_STREAM:
                sock.listen(64)
            threading.Thread(target=serve, args=(sock,), daemon=True).start()
def attempt(kind, address, port, ms):
    six = ":" in address
    family = socket.AF_INET6 if six else socket.AF_INET
    if kind == "ping":
        sock = socket.socket(family, socket.SOCK_DGRAM, 58 if six else 1)
    else:
        sock = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    sock.settimeout(int(ms) / 1000)
    try:
        sock.connect((address, int(port)))
        message = struct.pack("!BBHHH", 128 if six else 8, 0, 0, 0, 1) if kind == "ping" else b"hello"
        sock.send(message)
        return "yes" if sock.recv(64) else "no"
    except ConnectionError:
        return "reset"
    except OSError:
        return "no"
    finally:
        sock.close()
print("ready", flush=True)
for line in sys.stdin:
    tries = [words.split() for words in line.split(";")]
    answers = [None] * len(tries)
    def run(at):
        answers[at] = attempt(*tries[at])
    threads = [threading.Thread(target=run, args=(at,)) for at in range(len(tries))]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    print(" ".join(answers), flush=True)
`;

export interface PolicyStage {
  node: TestNetns;
  outside: TestNetns;
  podNetns: Readonly<Record<Pod, TestNetns>>;
  policy: PolicyTable;
  conntrack: Conntrack;
  /** Says of which class a pod's link is. */
  setClass: (pod: Pod, group: number) => void;
  /** Tries each flow and compares: "one tcp two 8080", by both families unless the line ends in "4" or "6". */
  expect: (flows: Readonly<Record<string, "passes" | "denied" | "reset">>) => Promise<void>;
  /** Packets that a counter of the table has counted. */
  counted: (counter: string) => number;
}

export async function makePolicyStage(t: TestContext): Promise<PolicyStage> {
  const [node, outside] = [makeNetns(t), makeNetns(t)];
  const podNetns = { one: makeNetns(t), two: makeNetns(t), three: makeNetns(t) };
  node.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
  outside.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
  node.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", outside.name);
  for (const [netns, own] of [
    [node, at.node],
    [outside, at.outside],
  ] as const) {
    ip(netns, "link set lo up", "link set eth0 up");
    ip(netns, `address add ${own[4]}/24 dev eth0`, `address add ${own[6]}/64 dev eth0 nodad`);
  }
  ip(outside, `route add 10.4.1.0/24 via ${at.node[4]}`, `-6 route add fd00:10:4:1::/64 via ${at.node[6]}`);
  ip(outside, `link add narrow mtu ${narrowMtu} type veth peer name far`, "link set far up", "link set narrow up");
  ip(outside, `route add ${at.beyond[4]} dev narrow`, `-6 route add ${at.beyond[6]} dev narrow`);
  ip(node, `route add default via ${at.outside[4]}`, `-6 route add default via ${at.outside[6]}`);
  for (const [pod, link] of Object.entries(pods) as [Pod, string][]) {
    ip(podNetns[pod], "link set lo up");
    addPod(node, podNetns[pod], link, at[pod]);
  }
  const all: Readonly<Record<Machine, TestNetns>> = { ...podNetns, node, outside };
  await until("every link carries", () =>
    Object.values(all).every((netns) => !/tentative|NO-CARRIER/.test(netns.run("ip", "address"))),
  );
  const machines = new Map<string, Running>();
  for (const [name, netns] of Object.entries(all)) {
    netns.run("sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647");
    machines.set(name, await runIn(t, netns, program, ports.join(",")));
  }
  return {
    node,
    outside,
    podNetns,
    ...openKernelParts(t, node),
    setClass: (pod, group) => node.run("ip", "link", "set", pods[pod], "group", String(group)),
    expect: (flows) => expectAll(machines, flows),
    counted: (counter) => {
      const listed = node.run("nft", "list", "counter", "inet", "fairlead-policy", counter);
      return Number(/packets (\d+)/.exec(listed)?.[1] ?? assert.fail(listed));
    },
  };
}

function openKernelParts(t: TestContext, node: TestNetns): { policy: PolicyTable; conntrack: Conntrack } {
  const addon = loadAddon();
  const namespace = addon.openNetns(node.path);
  const socket = addon.openNetlink(namespace, 12);
  t.after(() => {
    addon.close(socket);
    addon.close(namespace);
  });
  const call = (request: Uint8Array): Promise<Buffer> => addon.call(1, socket, request, 10_000);
  return {
    policy: createPolicyTable({ call, nextSequence: createSequence() }),
    conntrack: createConntrack({ addon, netns: namespace, mustBeOpen: () => undefined }),
  };
}

/** How long an answer may take that must come, and how long one is waited for that must not. */
const [answerMs, silenceMs] = [5000, 300];

const outcomes = { passes: "yes", denied: "no", reset: "reset" } as const;

async function expectAll(
  machines: ReadonlyMap<string, Running>,
  flows: Readonly<Record<string, keyof typeof outcomes>>,
): Promise<void> {
  const tries = Object.entries(flows).flatMap(([flow, expected]) => {
    const [from = "", kind = "", to = "", ...rest] = flow.split(" ");
    const families = (["4", "6"] as const).filter(
      (one) => rest.at(-1) === one || !["4", "6"].includes(rest.at(-1) ?? ""),
    );
    const port = rest.find((word) => word.length > 1) ?? "0";
    const ms = expected === "denied" ? silenceMs : answerMs;
    return families.map((family) => {
      const known: Readonly<Record<string, { 4: string; 6: string }>> = at;
      const address = known[to]?.[family] ?? to;
      return { flow: `${flow} by IPv${family}`, from, line: `${kind} ${address} ${port} ${ms}`, expected };
    });
  });
  const found: Record<string, string> = {};
  await Promise.all(
    [...Map.groupBy(tries, ({ from }) => from)].map(async ([from, ofOne]) => {
      const machine = machines.get(from) ?? assert.fail(`no machine ${from}`);
      machine.say(ofOne.map(({ line }) => line).join(";"));
      const answers = (await machine.hear()).split(" ");
      for (const [index, { flow }] of ofOne.entries()) found[flow] = answers[index] ?? "";
    }),
  );
  assert.deepEqual(found, Object.fromEntries(tries.map(({ flow, expected }) => [flow, outcomes[expected]])));
}
