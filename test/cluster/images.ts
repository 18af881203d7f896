// The images of a test cluster: the sandbox's, the test program's with the tools that probes use, and CoreDNS.

import { existsSync, mkdirSync, realpathSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Fault } from "../../src/base/fault.ts";
import { execOk } from "../../lab/exec.ts";
import { all } from "../../lab/waiting.ts";
import { type Entry, type Image, writeImage } from "./image.ts";
import { upstreamPath } from "./upstream.ts";

/** Names by which pods ask for them. No registry is asked: they are on every node. */
export const imageNames = {
  pause: "registry.k8s.io/pause:3.10",
  agnhost: "registry.k8s.io/e2e-test-images/agnhost:2.60",
  coredns: "registry.k8s.io/coredns/coredns:v1.14.7",
} as const;

/** Debian's programs that go into the test image. `sh` is dash: busybox's own would run its applets in place of what is in the PATH. */
const tools = ["bash", "curl", "dash", "dig", "getent", "ip", "nc.openbsd", "ping", "ss"];
const toolFolders = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];
/** Small programs that busybox stands in for. */
const applets =
  "cat cp date env false head hostname id kill ls mkdir mount mv nslookup printf rm sed sleep sync tail tee test timeout touch true wc wget";

const imageDirectory = `${upstreamPath}/images`;
const pauseSource = fileURLToPath(new URL("pause.c", import.meta.url));

/** Makes the image files that are not there yet, or are older than what they are made of; gives their paths. */
export async function makeImages(env: Readonly<Record<string, string>>): Promise<string[]> {
  mkdirSync(imageDirectory, { recursive: true });
  const images = { pause: await pauseImage(env), agnhost: await agnhostImage(env), coredns: corednsImage() };
  return all(
    Object.entries(images).map(async ([name, image]) => {
      const file = `${imageDirectory}/${name}.tar`;
      await writeImage(image, file, env);
      return file;
    }),
  );
}

async function pauseImage(env: Readonly<Record<string, string>>): Promise<Image> {
  const program = `${imageDirectory}/pause`;
  const builtMs = statSync(program, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (builtMs < statSync(pauseSource).mtimeMs) {
    await execOk("musl-gcc", ["-static", "-Os", "-Wall", "-Werror", "-s", "-o", program, pauseSource], { env });
  }
  return { name: imageNames.pause, entries: { pause: { from: program } }, entrypoint: ["/pause"] };
}

function corednsImage(): Image {
  return {
    name: imageNames.coredns,
    entries: { coredns: { from: `${upstreamPath}/coredns` } },
    entrypoint: ["/coredns"],
  };
}

async function agnhostImage(env: Readonly<Record<string, string>>): Promise<Image> {
  const programs = tools.map(locate);
  const libraries = (await all(programs.map((program) => librariesOf(program, env)))).flat();
  const busybox = locate("busybox");
  const entries: Record<string, Entry> = {
    agnhost: { from: `${upstreamPath}/agnhost` },
    "agnhost-2": { link: "agnhost" },
    "bin/busybox": { from: busybox },
    ...Object.fromEntries(applets.split(" ").map((name) => [`bin/${name}`, { link: "busybox" }])),
    ...Object.fromEntries(
      programs.map((program) => [
        `bin/${program.slice(program.lastIndexOf("/") + 1)}`,
        { from: realpathSync(program) },
      ]),
    ),
    "bin/nc": { link: "nc.openbsd" },
    "bin/sh": { link: "dash" },
    ...Object.fromEntries(libraries.map((library) => [library.slice(1), { from: realpathSync(library) }])),
    "etc/passwd": { text: "root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n" },
    "etc/group": { text: "root:x:0:\nuser:x:1000:\n" },
    "etc/nsswitch.conf": { text: "hosts: files dns\n" },
    tmp: { folder: 0o1777 },
    uploads: { folder: 0o755 },
  };
  return { name: imageNames.agnhost, entries, entrypoint: ["/agnhost"], command: ["pause"] };
}

function locate(tool: string): string {
  const found = toolFolders.map((folder) => `${folder}/${tool}`).find((path) => existsSync(path));
  if (found === undefined) throw new Fault("lab-failed", `${tool} is not installed; run tools/machine.sh cluster`);
  return found;
}

/** Paths of the shared libraries that a program loads, its loader included (ldd(1)). */
async function librariesOf(program: string, env: Readonly<Record<string, string>>): Promise<string[]> {
  const text = await execOk("ldd", [program], { env });
  return [...text.matchAll(/(?:=> )?(\/\S+) \(0x/g)].flatMap(([, path]) => path ?? []);
}
