// What the image is made of, as far as it can be said without making it: its files, its archive, and that both recipes are one.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { imageLabels, runtimeConfig, writeArchive } from "./archive.ts";
import { imageFiles, modules, reachable } from "./files.ts";

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

test("of our sources, those that the program can come to: no test, no stand-in, no lab", () => {
  const sources = reachable("src/main.ts");
  for (const part of [
    "agent/serve",
    "agent/uninstall",
    "controller/serve",
    "cli/status",
    "kernel/addon",
    "kube/lease",
  ]) {
    assert.ok(sources.includes(`src/${part}.ts`), part);
  }
  assert.deepEqual(
    sources.filter((path) => /\.test\.ts$|(?:^|\/)fake|^lab\/|^test\//.test(path)),
    [],
  );
});

test("of modules, those that package.json names and what they need: nothing for development, nothing for other machines", () => {
  const { dependencies, devDependencies } = JSON.parse(read("package.json")) as Record<string, Record<string, string>>;
  const names = modules().map((path) => path.replace("node_modules/", ""));
  for (const name of Object.keys(dependencies ?? {})) assert.ok(names.includes(name), name);
  for (const name of Object.keys(devDependencies ?? {})) assert.ok(!names.includes(name), name);
  assert.deepEqual(
    names.filter((name) => name.startsWith("node-linux")),
    [],
    "Node lies in the lower layer",
  );
});

test("each module keeps what Node asks it for, and its licence; types, maps and tests of others stay out", () => {
  const files = imageFiles();
  for (const folder of modules()) {
    assert.ok(files.includes(`${folder}/package.json`), folder);
    const licences = readdirSync(folder).filter((name) => /^licen[cs]e/i.test(name));
    for (const name of licences) assert.ok(files.includes(`${folder}/${name}`), `${folder}/${name}`);
  }
  assert.deepEqual(
    files.filter((path) => path.startsWith("node_modules/") && /\.d\.[cm]?ts$|\.map$|\.ts$|\/test\//.test(path)),
    [],
  );
  assert.deepEqual(files, files.toSorted(), "in order");
});

test("the Dockerfile makes its tree by the same script, and says the same of what runs", () => {
  const lines = read("Dockerfile").split("\n");
  const line = (start: string): string => lines.filter((each) => each.startsWith(start)).join("\n");
  assert.match(line("RUN"), /tools\/machine\.sh image && tools\/machine\.sh modules && .* && tools\/image\.sh tree$/);
  assert.equal(
    line("COPY --from=build"),
    "COPY --from=build /src/build/image/base/ /\nCOPY --from=build /src/build/image/app/ /",
    "both layers, in the order of the archive",
  );
  assert.equal(line("ENTRYPOINT"), `ENTRYPOINT ${JSON.stringify(runtimeConfig.Entrypoint)}`);
  const labels = Object.entries(imageLabels).map(([name, text]) => `${name}=${text}`);
  assert.equal(line("LABEL"), `LABEL ${labels.join(" ")}`);
  assert.equal(line("ENV"), `ENV ${runtimeConfig.Env.join(" ")}`);
  assert.equal(lines.filter((each) => each === `WORKDIR ${runtimeConfig.WorkingDir}`).length, 1);
  assert.equal(line("FROM").split("\n").at(-1), "FROM scratch");
});

test("an archive names each blob by its digest, is the same for the same layers, and stores them packed where they are", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "fairlead-image-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const file = (name: string, bytes: string | Uint8Array): string => {
    writeFileSync(join(folder, name), bytes);
    return join(folder, name);
  };
  const layers = [
    { tar: file("lower.tar", "lower"), gz: file("lower.tar.gz", gzipSync("lower")), what: "packed" },
    { tar: file("upper.tar", "upper"), what: "as it is" },
  ];
  const runs = { Entrypoint: ["/run"], Env: ["A=b"] };
  const write = (into: string): string =>
    writeArchive({ name: "a.test/x:1.2.3", layers, runs, createdS: 0, madeBy: "a test", into: join(folder, into) });
  const digest = write("one");
  assert.equal(write("two"), digest);
  const digestOf = (bytes: string | Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  const blob = (name: string): Buffer => {
    const bytes = readFileSync(join(folder, "one/blobs/sha256", name.replace("sha256:", "")));
    assert.equal(digestOf(bytes), name);
    return bytes;
  };
  const [named] = (JSON.parse(readFileSync(join(folder, "one/index.json"), "utf8")) as Index).manifests;
  assert.equal(named?.annotations["io.containerd.image.name"], "a.test/x:1.2.3");
  assert.equal(named?.annotations["org.opencontainers.image.ref.name"], "1.2.3");
  assert.equal(named?.digest, digest);
  const manifest = JSON.parse(blob(digest).toString()) as Manifest;
  assert.deepEqual(
    manifest.layers.map(({ digest: name, mediaType }) => [mediaType, blob(name).length]),
    [
      ["application/vnd.oci.image.layer.v1.tar+gzip", gzipSync("lower").length],
      ["application/vnd.oci.image.layer.v1.tar", "upper".length],
    ],
  );
  const config = JSON.parse(blob(manifest.config.digest).toString()) as Config;
  assert.deepEqual(
    config.rootfs.diff_ids,
    ["lower", "upper"].map(digestOf),
    "of the layers as they are unpacked, in their order",
  );
  assert.deepEqual(config.config, runs);
  assert.equal(config.created, "1970-01-01T00:00:00Z");
});

interface Index {
  manifests: { digest: string; annotations: Record<string, string> }[];
}

interface Manifest {
  config: { digest: string };
  layers: { digest: string; mediaType: string }[];
}

interface Config {
  rootfs: { diff_ids: string[] };
  config: object;
  created: string;
}
