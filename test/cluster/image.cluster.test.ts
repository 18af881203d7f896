// The container image: made twice to the same bytes, no more in it than runs, and an agent that serves from its read-only root.

import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { addUplink, runShim } from "../agent.ts";
import { makeNetns } from "../netns.ts";
import { until } from "../until.ts";

const top = fileURLToPath(new URL("../..", import.meta.url));
const imageFile = join(top, "build/fairlead-image.tar");
const makeWithinMs = 300_000;
const archiveMbMax = 60;
const unpackedMbMax = 150;

const run = (program: string, ...args: string[]): string =>
  execFileSync(program, args, { encoding: "utf8", cwd: top, timeout: makeWithinMs, stdio: ["ignore", "pipe", "pipe"] });
const digest = (): string => createHash("sha256").update(readFileSync(imageFile)).digest("hex");

/** In a mount namespace of its own: the image's root, read-only, with the folders of a node where the manifests mount them. */
const mountScript = `set -eu
root=$1; node=$2; shift 2
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --bind -o ro /proc/sys "$root/proc/sys" 2>/dev/null || { mount --bind /proc/sys "$root/proc/sys"; mount -o remount,bind,ro "$root/proc/sys"; }
mount --bind "$node" "$root/node"
mount --rbind /run/netns "$root/run/netns"
mount --bind /proc/sys/net "$root/host/proc/sys/net"
mount -o remount,bind,ro "$root"
exec setpriv --bounding-set=-all,+net_admin,+sys_admin,+sys_chroot -- chroot "$root" "$@"
`;

describe("the container image", () => {
  const directory = mkdtempSync(join(tmpdir(), "fairlead-image-"));
  const root = join(directory, "root");
  after(() => rmSync(directory, { recursive: true, force: true }));
  before(
    () => {
      run("tools/image.sh");
      mkdirSync(join(directory, "archive"));
      run("tar", "-x", "-f", imageFile, "-C", join(directory, "archive"));
      const blob = (name: string): string => join(directory, "archive/blobs", name.replace(":", "/"));
      const json = (file: string): Json => JSON.parse(readFileSync(file, "utf8")) as Json;
      const [named] = json(join(directory, "archive/index.json")).manifests ?? [];
      mkdirSync(root);
      for (const layer of json(blob(named?.digest ?? "")).layers ?? []) {
        run("tar", "-x", "-z", "-f", blob(layer.digest), "-C", root);
      }
    },
    { timeout: makeWithinMs },
  );

  test("made a second time, with its words going elsewhere, it has the same bytes", { timeout: makeWithinMs }, () => {
    const first = digest();
    run("sh", "-c", 'exec tools/image.sh 2>"$1"', "sh", join(directory, "words"));
    assert.equal(digest(), first);
  });

  test("it is small, nobody but root can change it, and no program in it gives rights away", () => {
    assert.ok(statSync(imageFile).size < archiveMbMax * 1e6);
    assert.ok(Number(run("du", "-sm", root).split("\t")[0]) < unpackedMbMax);
    assert.equal(run("find", root, "-perm", "/022", "!", "-type", "l", "!", "-path", `${root}/tmp`), "");
    assert.equal(run("find", root, "-perm", "/7000", "!", "-path", `${root}/tmp`), "");
    assert.equal(run("find", root, "!", "-user", "0", "-o", "!", "-group", "0"), "");
    const programs = run("find", join(root, "usr/bin"), "-printf", "%f\\n").trim().split("\n").sort();
    assert.deepEqual(programs, ["bin", "cat", "dash", "fairlead", "readlink", "sh", "unshare"]);
  });

  test("each program in it finds its libraries there, and its packages are told for scanners", () => {
    for (const program of ["cat", "readlink", "unshare"]) run("chroot", root, `/usr/bin/${program}`, "--version");
    run("chroot", root, "/usr/bin/sh", "-c", ":");
    assert.match(run("chroot", root, "/usr/bin/cat", "/etc/os-release"), /^ID=/m);
    for (const name of ["libc6", "libstdc++6", "util-linux"]) {
      assert.match(
        readFileSync(join(root, "var/lib/dpkg/status.d", name), "utf8"),
        new RegExp(`^Package: ${name.replaceAll("+", "\\+")}$`, "m"),
      );
    }
  });

  test("each of its users starts from compiled code, on a machine like this one", () => {
    for (const uid of ["0", "65532"]) {
      const { stdout, stderr } = spawnSync(
        "chroot",
        [`--userspec=${uid}:${uid}`, root, "/usr/bin/fairlead", "--version"],
        {
          encoding: "utf8",
          env: { PATH: "/usr/sbin:/usr/bin", NODE_DEBUG_NATIVE: "COMPILE_CACHE" },
        },
      );
      const said = `${stdout}${stderr}`;
      assert.match(said, /V8 code cache for ESM \S+\/src\/main\.ts was accepted/, said);
      assert.doesNotMatch(said, /was rejected|does not exist|not found/, said);
    }
  });

  test("an agent serves from it: read-only root, two capabilities, settings by way of /host", async (t) => {
    const node = makeNetns(t);
    addUplink(node);
    const pod = makeNetns(t);
    const place = join(directory, "node");
    for (const folder of [place, join(root, "node"), join(root, "host/proc/sys/net"), join(root, "run/netns")]) {
      mkdirSync(folder, { recursive: true });
    }
    const at = (folder: string): { socket: string; state: string; cniConf: string; cniBin: string; etc: string } => ({
      socket: `${folder}/run/cni.sock`,
      state: `${folder}/state`,
      cniConf: `${folder}/conf`,
      cniBin: `${folder}/bin`,
      etc: `${folder}/etc`,
    });
    const config = {
      node: { name: "node-1" },
      paths: at("/node"),
      addresses: { mode: "routes", blocks: ["10.4.1.0/24"] },
    };
    writeFileSync(join(place, "agent.yaml"), JSON.stringify(config));
    const inside = [
      "sh",
      "-c",
      mountScript,
      "sh",
      root,
      place,
      "/usr/bin/fairlead",
      "agent",
      "--config",
      "/node/agent.yaml",
    ];
    const agent = spawn("ip", ["netns", "exec", node.name, "unshare", "--mount", "--propagation=slave", ...inside], {
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let said = "";
    for (const stream of [agent.stdout, agent.stderr])
      stream.setEncoding("utf8").on("data", (text: string) => (said += text));
    const ended = new Promise<void>((done) => agent.once("close", () => done()));
    t.after(async () => {
      agent.kill("SIGTERM");
      await ended;
    });
    await until("the agent serves", () => agent.exitCode !== null || said.includes('"serving"'));
    assert.equal(agent.exitCode, null, said);
    const paths = at(place);
    const added = await runShim({ paths }, "ADD", { netns: pod.path });
    assert.equal(added.exitCode, 0, added.stdout);
    pod.run("ping", "-c1", "-W5", "172.30.0.11");
    assert.equal(
      node.run("cat", "/proc/sys/net/ipv4/ip_forward").trim(),
      "1",
      "a setting that only /host let it write",
    );
    const status = readFileSync(`/proc/${agent.pid}/status`, "utf8");
    assert.match(status, /^CapEff:\t0000000000241000$/m, "net_admin, sys_admin; sys_chroot for this test's own door");
    assert.equal((await runShim({ paths }, "DEL", { netns: pod.path })).exitCode, 0);
  });
});

interface Json {
  manifests?: { digest: string }[];
  layers?: { digest: string }[];
}
