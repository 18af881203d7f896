// A node with two pods, and a machine outside that says from where it is called: for tests of masquerade with real packets.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";
import { makeNetns, type TestNetns } from "./netns.ts";
import { until } from "./until.ts";

/** Addresses by family, as the machines of the stage have them. */
export const at = {
  node: { 4: "172.30.0.11", 6: "fd00:30::11" },
  pod: { 4: "10.4.1.2", 6: "fd00:10:4:1::2" },
  neighbour: { 4: "10.4.1.3", 6: "fd00:10:4:1::3" },
  /** All of these are one machine: what tells them apart is what the plan says of them. */
  outside: { 4: "203.0.113.9", 6: "2001:db8::9" },
  kept: { 4: "192.168.77.1", 6: "fd77::1" },
  otherPod: { 4: "10.4.2.2", 6: "fd00:10:4:2::2" },
} as const;
const gateway = { 4: "172.30.0.1", 6: "fd00:30::1" } as const;

export const port = 9000;

/** For each address and protocol a socket of its own, so that answers come from the address that was called. */
const server = `
import socket, sys, threading
def tcp(listener):
    while True:
        peer, name = listener.accept()
        threading.Thread(target=talk, args=(peer, name), daemon=True).start()
def talk(peer, name):
    while peer.recv(16):
        peer.send(("%s %d\\n" % name[:2]).encode())
def udp(bound):
    while True:
        _, name = bound.recvfrom(16)
        bound.sendto(("%s %d\\n" % name[:2]).encode(), name)
for address in sys.argv[2:]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound = socket.socket(family, socket.SOCK_DGRAM)
    for sock in (listener, bound):
        sock.bind((address, int(sys.argv[1])))
    listener.listen(64)
    threading.Thread(target=tcp, args=(listener,), daemon=True).start()
    threading.Thread(target=udp, args=(bound,), daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
`;

/** Calls an address some times, each from a port of its own, and prints for each the port that it used and what it was told. */
const client = `
import socket, sys
kind, address, port, first, count = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
family = socket.AF_INET6 if ":" in address else socket.AF_INET
for source in range(first, first + count):
    sock = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.settimeout(10)
    sock.bind(("", source))
    sock.connect((address, port))
    sock.send(b".")
    print(source, sock.recv(99).decode(), end="")
    sock.close()
`;

/** An association's first packet; the kernel need not know SCTP. Its checksum is CRC-32C (RFC 9260). */
const sctpInit = `
import socket, struct, sys
def crc(data):
    value = 0xffffffff
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
    return value ^ 0xffffffff
address, port, source = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
init = struct.pack("!BBHIIHHI", 1, 0, 20, 7, 65536, 1, 1, 1)
head = struct.pack("!HHI", source, port, 0)
sum = struct.pack("<I", crc(head + bytes(4) + init))
family = socket.AF_INET6 if ":" in address else socket.AF_INET
socket.socket(family, socket.SOCK_RAW, 132).sendto(head + sum + init, (address, 0))
`;

/** Keeps from where echo requests and associations came. */
const seenTable = `table inet seen {
  set icmp4 { type ipv4_addr; flags dynamic; size 64; }
  set icmp6 { type ipv6_addr; flags dynamic; size 64; }
  set sctp4 { type ipv4_addr . inet_service; flags dynamic; size 64; }
  set sctp6 { type ipv6_addr . inet_service; flags dynamic; size 64; }
  chain input {
    type filter hook input priority 0
    icmp type echo-request add @icmp4 { ip saddr }
    icmpv6 type echo-request add @icmp6 { ip6 saddr }
    meta nfproto ipv4 meta l4proto sctp add @sctp4 { ip saddr . sctp sport }
    meta nfproto ipv6 meta l4proto sctp add @sctp6 { ip6 saddr . sctp sport }
  }
}`;

export interface Stage {
  node: TestNetns;
  pod: TestNetns;
  /** Another pod of the same node. */
  neighbour: TestNetns;
  /** Everything that is not this node. */
  outside: TestNetns;
  /** Elements of a set of those that `outside` keeps. */
  seen: (set: "icmp4" | "icmp6" | "sctp4" | "sctp6") => string[];
}

export async function makeStage(t: TestContext): Promise<Stage> {
  const [node, pod, neighbour, outside] = [makeNetns(t), makeNetns(t), makeNetns(t), makeNetns(t)];
  ip(pod, "link set lo up");
  ip(neighbour, "link set lo up");
  node.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
  outside.run("nft", seenTable);
  node.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", outside.name);
  for (const [netns, own] of [
    [node, at.node],
    [outside, gateway],
  ] as const) {
    ip(
      netns,
      "link set lo up",
      "link set eth0 up",
      `address add ${own[4]}/24 dev eth0`,
      `address add ${own[6]}/64 dev eth0 nodad`,
    );
  }
  for (const { 4: v4, 6: v6 } of [at.outside, at.kept, at.otherPod]) {
    ip(outside, `address add ${v4}/32 dev lo`, `address add ${v6}/128 dev lo`);
  }
  ip(outside, `route add 10.4.1.0/24 via ${at.node[4]}`, `-6 route add fd00:10:4:1::/64 via ${at.node[6]}`);
  ip(node, `route add default via ${gateway[4]}`, `-6 route add default via ${gateway[6]}`);
  addPod(node, pod, "fl1", at.pod);
  addPod(node, neighbour, "fl2", at.neighbour);
  await until("every link carries", () =>
    [node, pod, neighbour, outside].every((netns) => !/tentative|NO-CARRIER/.test(netns.run("ip", "address"))),
  );
  const serve = (netns: TestNetns, ...whose: { 4: string; 6: string }[]) =>
    startServer(
      t,
      netns,
      whose.flatMap((own) => [own[4], own[6]]),
    );
  await Promise.all([
    serve(outside, at.outside, at.kept, at.otherPod),
    serve(neighbour, at.neighbour),
    serve(pod, at.pod),
    serve(node, at.node),
  ]);
  const seen = (set: string): string[] => {
    const listed = outside.run("nft", "list", "set", "inet", "seen", set);
    return (/elements = \{([^}]*)\}/.exec(listed)?.[1] ?? "")
      .split(",")
      .map((one) => one.trim())
      .filter(Boolean);
  };
  return { node, pod, neighbour, outside, seen };
}

/** Runs `ip` some times. */
export function ip(netns: TestNetns, ...commands: string[]): void {
  netns.run("sh", "-ec", commands.map((command) => `ip ${command}`).join("\n"));
}

/** As the agent makes it: no address on the node's end, neighbours for good. */
export function addPod(node: TestNetns, pod: TestNetns, link: string, own: { 4: string; 6: string }): void {
  const [host, mac] = ["02:00:00:00:00:01", "02:00:00:00:00:02"];
  ip(
    node,
    `link add ${link} address ${host} type veth peer name eth0 address ${mac} netns ${pod.name}`,
    `link set ${link} up`,
  );
  ip(
    pod,
    `link set eth0 up`,
    `address add ${own[4]}/32 dev eth0`,
    `address add ${own[6]}/128 dev eth0 nodad`,
    `neighbour add 169.254.1.1 lladdr ${host} dev eth0 nud permanent`,
    `neighbour add fe80::1 lladdr ${host} dev eth0 nud permanent`,
    `route add 169.254.1.1 dev eth0`,
    `route add default via 169.254.1.1 dev eth0`,
    `-6 route add default via fe80::1 dev eth0`,
  );
  ip(
    node,
    `route add ${own[4]} dev ${link} src ${at.node[4]}`,
    `-6 route add ${own[6]} dev ${link} src ${at.node[6]}`,
    `neighbour add ${own[4]} lladdr ${mac} dev ${link} nud permanent`,
    `neighbour add ${own[6]} lladdr ${mac} dev ${link} nud permanent`,
  );
}

export interface Running {
  say: (line: string) => void;
  /** The next line that it prints. @throws where it has ended */
  hear: () => Promise<string>;
}

/** Runs a Python program in a namespace until the test ends; gives it once it has printed its first line. */
export async function runIn(t: TestContext, netns: TestNetns, program: string, ...words: string[]): Promise<Running> {
  const args = ["netns", "exec", netns.name, "python3", "-c", program, ...words];
  const child = spawn("ip", args, { stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const hear = async (): Promise<string> => {
    const { value, done } = await lines.next();
    return done === true ? assert.fail(`a program in ${netns.name} has ended`) : value;
  };
  await hear();
  return { hear, say: (line) => void child.stdin.write(`${line}\n`) };
}

async function startServer(t: TestContext, netns: TestNetns, addresses: string[]): Promise<void> {
  await runIn(t, netns, server, String(port), ...addresses);
}

/** One call: the port that the caller used, and what the called one saw. */
export interface Call {
  port: number;
  seenFrom: string;
  seenPort: number;
}

/** Calls `address` from `count` ports, one after the other; each must be answered. */
export function calls(
  from: TestNetns,
  kind: "tcp" | "udp",
  address: string,
  { to = port, first = 20_000, count = 1 }: { to?: number; first?: number; count?: number } = {},
): Call[] {
  const said = from.run("python3", "-c", client, kind, address, String(to), String(first), String(count));
  return said
    .trim()
    .split("\n")
    .map((line) => {
      const [used, seenFrom = "", seenPort] = line.split(" ");
      return { port: Number(used), seenFrom, seenPort: Number(seenPort) };
    });
}

/** From where `address` sees a call of `from`. */
export function seenFrom(from: TestNetns, kind: "tcp" | "udp", address: string, first?: number): string {
  return calls(from, kind, address, first === undefined ? {} : { first })[0]?.seenFrom ?? "";
}

/** One echo request, which must be answered. */
export function ping(from: TestNetns, address: string): void {
  from.run("ping", "-n", "-c", "1", "-W", "5", address);
}

/** Sends the first packet of an SCTP association. */
export function sendInit(from: TestNetns, address: string, source: number): void {
  from.run("python3", "-c", sctpInit, address, String(port), String(source));
}
