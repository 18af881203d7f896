// eBPF programs that another program attaches to a link by tcx, and takes off again: what no command of iproute2 does.

import type { TestContext } from "node:test";
import { runIn } from "./masq-stage.ts";
import type { TestNetns } from "./netns.ts";

/** Loads a program that passes every packet on (SCHED_CLS: r0 = -1, TCX_NEXT; exit), links it to a place, and holds it until it is told to end. */
const holder = `
import ctypes, os, platform, socket, struct, sys
call = {"x86_64": 321, "aarch64": 280}[platform.machine()]
kernel = ctypes.CDLL(None, use_errno=True)
def bpf(command, attributes):
    space = ctypes.create_string_buffer(attributes, 128)
    fd = kernel.syscall(call, command, space, 128)
    if fd < 0: raise OSError(ctypes.get_errno(), "bpf command %d" % command)
    return fd
code = ctypes.create_string_buffer(struct.pack("<BBhi", 0xb7, 0, 0, -1) + struct.pack("<BBhi", 0x95, 0, 0, 0))
license = ctypes.create_string_buffer(b"GPL")
program = bpf(5, struct.pack("=IIQQ", 3, 2, ctypes.addressof(code), ctypes.addressof(license)))
place = {"ingress": 46, "egress": 47}[sys.argv[2]]
link = bpf(28, struct.pack("=IIII", program, socket.if_nametoindex(sys.argv[1]), place, 0))
print("attached", flush=True)
sys.stdin.readline()
os.close(link)
print("gone", flush=True)`;

export type Direction = "ingress" | "egress";

/** Attaches a program to that link of the namespace; gives what takes it off, as the end of the test does. */
export async function attachTcx(
  t: TestContext,
  netns: TestNetns,
  link: string,
  direction: Direction,
): Promise<() => Promise<void>> {
  const { say, hear } = await runIn(t, netns, holder, link, direction);
  return async () => {
    say("end");
    await hear();
  };
}
