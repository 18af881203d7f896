// Feature probes on the real machine, and on machines that lack things: without privileges, programs, messages, the addon.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Fault } from "../base/fault.ts";
import { type Addon, loadAddon } from "./addon.ts";
import { type FeatureReport, probeMachine } from "./features.ts";
import { conntrackMessage } from "./conntrack/messages.ts";
import { splitMessages } from "./netlink/message.ts";
import { nftMessage } from "./nftables/constants.ts";

const missing = (reports: readonly FeatureReport[]) => reports.filter(({ ok }) => !ok).map(({ feature }) => feature);
const features = [
  "addon",
  "namespaces",
  "veth",
  "ipv6",
  "strict-dumps",
  "nftables",
  "concatenated-sets",
  "destroy-elements",
  "source-guard",
  "connection-tracking",
  "tcx-programs",
];

/** Names and addresses of the machine's own links, its nftables, and the children of this process. */
function machine(): unknown {
  const run = (program: string, ...args: string[]) => execFileSync(program, args, { encoding: "utf8" });
  // A thread may end while it is looked at; what has no children is the same with and without it.
  const children = readdirSync("/proc/self/task").flatMap((task) => {
    try {
      return readFileSync(`/proc/self/task/${task}/children`, "utf8").match(/\d+/g) ?? [];
    } catch {
      return [];
    }
  });
  const addresses = run("ip", "-j", "address").replaceAll(/"(valid|preferred)_life_time":\d+/g, "");
  return [addresses, run("ip", "-j", "route"), run("nft", "-j", "list", "tables"), children];
}

/** An addon whose netfilter lane refuses every message of the type, as a kernel without it does. */
function addonWithout(type: number, errno: number): Addon {
  const addon = loadAddon();
  return {
    ...addon,
    call: (lane, socket, request, timeoutMs) => {
      const refused = lane === 1 ? splitMessages(request).find((message) => message.type === type) : undefined;
      if (refused === undefined) return addon.call(lane, socket, request, timeoutMs);
      const answer = Buffer.alloc(36);
      answer.writeUInt32LE(36);
      answer.writeUInt16LE(2, 4);
      answer.writeUInt32LE(refused.sequence, 8);
      answer.writeInt32LE(-errno, 16);
      return Promise.resolve(answer);
    },
  };
}

void test("a kernel without a message: the report says which feature, why, and what to do", async () => {
  const old = await probeMachine({ ipv6: true, addon: () => addonWithout(nftMessage.destroyElements, 22) });
  assert.deepEqual(missing(old), ["destroy-elements"]);
  const report = old.find(({ feature }) => feature === "destroy-elements");
  assert.equal(report?.needed, false);
  assert.match(report?.message ?? "", /Linux 6\.3.*EINVAL.*nothing has to be done/);

  const noTables = await probeMachine({ ipv6: true, addon: () => addonWithout(nftMessage.newTable, 95) });
  assert.deepEqual(missing(noTables), ["nftables", "concatenated-sets", "destroy-elements", "source-guard"]);
  assert.match(noTables.find(({ feature }) => feature === "nftables")?.message ?? "", /EOPNOTSUPP.*nf_tables/);

  const forgets = await probeMachine({ ipv6: true, addon: () => addonWithout(nftMessage.getTable, 2) });
  assert.deepEqual(missing(forgets), ["source-guard"]);

  const untracked = await probeMachine({ ipv6: true, addon: () => addonWithout(conntrackMessage.get, 22) });
  assert.deepEqual(missing(untracked), ["connection-tracking"]);
  const tracking = untracked.find(({ feature }) => feature === "connection-tracking");
  assert.equal(tracking?.needed, false);
  assert.match(tracking?.message ?? "", /tracked connections.*EINVAL.*nf_conntrack_netlink/);

  const forbidden = await probeMachine({ ipv6: true, addon: () => addonWithout(nftMessage.newTable, 1) });
  assert.match(
    forbidden.find(({ feature }) => feature === "nftables")?.message ?? "",
    /run as root with CAP_NET_ADMIN/,
  );
});

void test("this machine has everything, and the probes leave nothing behind", async () => {
  const before = machine();
  const reports = await probeMachine({ ipv6: true });
  assert.deepEqual(missing(reports), [], reports.map(({ message }) => message).join("\n"));
  assert.deepEqual(
    reports.map(({ feature }) => feature),
    features,
  );
  assert.deepEqual(machine(), before);
});

void test("what was found once is not tried again; IPv6 is needed only where it is wanted", async () => {
  const reports = await probeMachine({ ipv6: false, unshare: "no-such-program" });
  assert.deepEqual(missing(reports), []);
  assert.equal(reports.find(({ feature }) => feature === "ipv6")?.needed, false);
});

/** What a process of its own reports, so that nothing found earlier helps it. */
function probeElsewhere(prefix: readonly string[], options: string): FeatureReport[] {
  const url = new URL("features.ts", import.meta.url).href;
  const script = `import { probeMachine } from ${JSON.stringify(url)};
    console.log(JSON.stringify(await probeMachine(${options})));`;
  const [program, ...args] = [...prefix, process.execPath, "--input-type=module", "--eval", script];
  const cwd = fileURLToPath(new URL("../..", import.meta.url));
  return JSON.parse(execFileSync(program, args, { encoding: "utf8", cwd, timeout: 20_000 })) as FeatureReport[];
}

void test("without privileges nothing is tried, and the report says what is missing", () => {
  const reports = probeElsewhere(["setpriv", "--bounding-set=-sys_admin"], "{ ipv6: true }");
  assert.deepEqual(missing(reports), features.slice(1));
  assert.match(reports[1]?.message ?? "", /not permitted.*run as root with CAP_SYS_ADMIN/);
  assert.match(reports[2]?.message ?? "", /not tried, for want of namespaces/);
});

void test("with half the privileges each failure says so", () => {
  const reports = probeElsewhere(["setpriv", "--bounding-set=-net_admin"], "{ ipv6: true }");
  const veth = reports.find(({ feature }) => feature === "veth");
  assert.equal(veth?.ok, false);
  assert.match(veth?.message ?? "", /EPERM.*CAP_NET_ADMIN/);
});

/** Runs what it is given with bpf(2) refused by a filter of system calls, as a container's seccomp profile does. */
const withoutBpf = (errno: "EPERM" | "ENOSYS"): string => `
import ctypes, errno, os, platform, struct, sys
call = {"x86_64": 321, "aarch64": 280}[platform.machine()]
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, call), (0x06, 0, 0, 0x00050000 | errno.${errno}), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
if ctypes.CDLL(None).prctl(22, 2, program, 0, 0) != 0: sys.exit("no filter")
os.execvp(sys.argv[1], sys.argv[1:])`;

void test("where bpf(2) is refused, only the sight of what tcx attaches is missing, and what to do is said", () => {
  for (const errno of ["EPERM", "ENOSYS"] as const) {
    const reports = probeElsewhere(["python3", "-c", withoutBpf(errno)], "{ ipv6: true }");
    assert.deepEqual(missing(reports), ["tcx-programs"]);
    const sight = reports.find(({ ok }) => !ok);
    assert.equal(sight?.needed, false);
    assert.match(sight?.message ?? "", /by tcx.*bpf\(2\) is refused; allow bpf\(2\)/, errno);
  }
});

void test("without the program that makes namespaces", () => {
  const reports = probeElsewhere([], `{ ipv6: true, unshare: "no-such-program" }`);
  assert.match(reports[1]?.message ?? "", /install util-linux/);
});

void test("without the addon", async () => {
  const reports = await probeMachine({
    ipv6: true,
    addon: () => {
      throw new Fault("machine-unfit", "not built; run `make setup`");
    },
  });
  assert.deepEqual(missing(reports), features);
  assert.match(reports[0]?.message ?? "", /make setup/);
});
