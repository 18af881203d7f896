// tools/machine.sh on machines that lack something: each is made of stand-in programs, and each refusal must name the lack and its cure.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";

const script = fileURLToPath(new URL("machine.sh", import.meta.url));

/** What the script itself is made of; everything else on the machine is a stand-in or missing. */
const tools = ["cat", "cksum", "cmp", "dirname", "flock", "head", "mkdir", "mv", "rm", "sed", "sh", "tail", "test"];

/** A machine that has all that is needed: every program succeeds. */
const whole: Record<string, string> = {
  uname: "case $1 in -s) echo Linux ;; *) echo x86_64 ;; esac",
  id: "echo 0",
  node: "echo v20.1.0",
  npm: "exit 0",
  "apt-get": 'echo "$@" >>"$log"',
  ...Object.fromEntries(
    ["gcc", "musl-gcc", "make", "openssl", "nft", "conntrack", "ping", "ps"].map((name) => [name, "exit 0"]),
  ),
  ip: "exit 0",
};

interface Outcome {
  status: number | null;
  said: string;
  /** Each call of apt-get, one a line. */
  apt: string;
}

/** Runs `machine.sh KIND` where the programs are `whole` with `changes`; undefined takes a program away. */
function onMachine(
  t: TestContext,
  changes: Record<string, string | undefined>,
  env: Record<string, string> = {},
  kind = "run",
): Outcome {
  const top = mkdtempSync(join(tmpdir(), "fairlead machine ")); // a path with spaces
  t.after(() => rmSync(top, { recursive: true }));
  for (const folder of ["tools", "bin"]) mkdirSync(join(top, folder));
  copyFileSync(script, join(top, "tools/machine.sh"));
  for (const tool of tools) symlinkSync(realPath(tool), join(top, "bin", tool));
  const log = join(top, "apt-calls");
  writeFileSync(log, "");
  for (const [name, body] of Object.entries({ ...whole, ...changes })) {
    if (body === undefined) continue;
    writeFileSync(join(top, "bin", name), `#!/bin/sh\nlog='${log}'\n${body}\n`, { mode: 0o755 });
  }
  const { status, stderr } = spawnSync("/bin/sh", [join(top, "tools/machine.sh"), kind], {
    env: { PATH: join(top, "bin"), FAKE: top, ...env },
    cwd: "/",
    encoding: "utf8",
    timeout: 20_000,
  });
  return { status, said: stderr, apt: readFileSync(log, "utf8") };
}

function realPath(tool: string): string {
  const { stdout } = spawnSync("/bin/sh", ["-c", `command -v ${tool}`], {
    encoding: "utf8",
    env: { PATH: "/usr/bin:/bin:/usr/sbin:/sbin" },
  });
  const path = stdout.trim();
  return path.startsWith("/") ? path : `/usr/bin/${tool}`; // a word of the shell itself
}

void test("a machine that has everything is left alone, without a word", (t) => {
  assert.deepEqual(onMachine(t, {}), { status: 0, said: "", apt: "" });
});

void test("what a person must mend is told in one sentence with its cure", (t) => {
  const cases: [changes: Record<string, string | undefined>, lack: RegExp, cure: RegExp][] = [
    [{ uname: "echo Darwin" }, /this is Darwin/, /use a Linux machine/],
    [{ id: "echo 1000" }, /root is needed/, /sudo or as root/],
    [{ node: undefined }, /node is not in the PATH/, /install Node\.js 20 or newer/],
    [{ node: "exit 127" }, /does not run/, /install Node\.js 20 or newer/],
    [{ node: "echo v18.20.4" }, /node v18\.20\.4 is too old/, /install Node\.js 20 or newer/],
    [{ node: "echo nonsense" }, /'nonsense', which is none/, /install Node\.js 20 or newer/],
    [{ npm: undefined }, /npm is not in the PATH/, /install npm/],
    [{ gcc: undefined, ping: undefined, "apt-get": undefined }, /gcc libc6-dev iputils-ping/, /package tool/],
    [{ ip: 'echo "Operation not permitted" >&2; exit 1' }, /cannot be made here \(Operation/, /--privileged/],
    [
      { ip: '[ "$5" != link ] || { echo "Unknown device type" >&2; exit 2; }' },
      /no veth links \(Unknown/,
      /modprobe veth/,
    ],
    [{ ip: '[ "$4" != nft ] || { echo "not supported" >&2; exit 1; }' }, /nftables lack .*\(not supported/, /modprobe/],
  ];
  for (const [changes, lack, cure] of cases) {
    const { status, said } = onMachine(t, changes);
    assert.equal(status, 1, said);
    assert.match(said, /^machine: [^\n]+[.)]\n$/, "one sentence, one line");
    assert.match(said, lack);
    assert.match(said, cure);
  }
});

void test("a cluster needs what its test image is made of, and the headers that runc is built with", (t) => {
  const { status, said } = onMachine(t, { "apt-get": undefined }, {}, "cluster");
  assert.equal(status, 1);
  // iptables lies in /usr/sbin, which the script looks into on every machine.
  const names = "pkg-config libseccomp-dev (?:iptables )?busybox-static bash dash curl bind9-dnsutils netcat-openbsd";
  assert.match(said, new RegExp(`are missing: ${names};`));
});

void test("under sudo the caller's own Node is thought of", (t) => {
  const { said } = onMachine(t, { node: undefined }, { SUDO_USER: "alice" });
  assert.match(said, /if alice has it, run: sudo env "PATH=\$PATH" make setup/);
});

/** An apt-get that brings ping along; `before` decides whether it may. */
const aptBringsPing = (before: string): string =>
  `echo "$*" | sed 's/ -o [^ ]*//g' >>"$log"\n${before}\ncase "$*" in *install*) printf '#!/bin/sh\\n' >"$FAKE/bin/ping"; /bin/chmod 755 "$FAKE/bin/ping" ;; esac`;

void test("a missing package is installed by name, and the lists are refreshed only where they do not serve", (t) => {
  const install = "-qq -y --no-install-recommends install iputils-ping\n";
  const atOnce = onMachine(t, { ping: undefined, "apt-get": aptBringsPing("") });
  assert.deepEqual([atOnce.status, atOnce.said, atOnce.apt], [0, "", install]);
  const stale = aptBringsPing(`case "$*" in *update*) : >"$FAKE/fresh" ;; *) [ -e "$FAKE/fresh" ] || exit 100 ;; esac`);
  const refreshed = onMachine(t, { ping: undefined, "apt-get": stale });
  assert.deepEqual([refreshed.status, refreshed.said, refreshed.apt], [0, "", `${install}-qq update\n${install}`]);
});

void test("an installation that fails shows apt's words, and one that brings nothing is noticed", (t) => {
  const failing = onMachine(t, {
    ping: undefined,
    "apt-get": 'echo "$1" >>"$log"; echo "E: no such package"; exit 100',
  });
  assert.equal(failing.status, 1);
  assert.match(failing.said, /E: no such package/);
  assert.match(failing.said, /could not install iputils-ping .*apt-get install iputils-ping\n$/);
  assert.equal(failing.apt.split("\n").length - 1, 3, "install, update, install");
  const hollow = onMachine(t, { ping: undefined, "apt-get": "exit 0" });
  assert.equal(hollow.status, 1);
  assert.match(hollow.said, /iputils-ping: installed but still not usable/);
});
