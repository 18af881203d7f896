// The OCI archive: layers, configuration, manifest and index, each named by its digest, in the form that `ctr images import` takes.

import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** What scanners of images are told of Fairlead's, beside its version. */
export const imageLabels = {
  "org.opencontainers.image.title": "fairlead",
  "org.opencontainers.image.licenses": "Apache-2.0",
} as const;

/** What runs in a container of Fairlead: the Dockerfile says the same. */
export const runtimeConfig = {
  Entrypoint: ["/usr/bin/fairlead"],
  Env: ["PATH=/usr/bin"],
  WorkingDir: "/",
} as const;

export interface LayerFiles {
  tar: string;
  /** The same, packed, where it is stored so. */
  gz?: string;
  /** What is in it, for people. */
  what: string;
}

/** What runs in a container and with what around it, in OCI's words. */
export interface RuntimeConfig {
  Entrypoint: readonly string[];
  Cmd?: readonly string[];
  Env: readonly string[];
  WorkingDir?: string;
  Labels?: Readonly<Record<string, string>>;
}

export interface ArchiveOptions {
  /** By which pods ask for it, its tag included. */
  name: string;
  layers: readonly LayerFiles[];
  runs: RuntimeConfig;
  /** When the image was made, in s since 1970: the only time in it. */
  createdS: number;
  /** The program that made the layers, for people. */
  madeBy: string;
  /** An empty folder for the archive's files. */
  into: string;
}

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
}

/** Go's name of this machine's architecture, as images are marked: what is in the layers ran here, or came from here. */
const architecture = process.arch === "x64" ? "amd64" : process.arch;

/** The name under which a cluster's manifests ask for Fairlead's image. */
export const imageName = (version: string): string => `fairlead.dev/fairlead:${version}`;

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** Writes the files of an archive (OCI image layout 1.0); gives the digest of its manifest, by which the image is known. */
export function writeArchive({ name, layers, runs, createdS, madeBy, into }: ArchiveOptions): string {
  const blobs = join(into, "blobs/sha256");
  mkdirSync(blobs, { recursive: true });
  const put = (mediaType: string, value: object): Descriptor => {
    const text = JSON.stringify(value);
    const digest = sha256(Buffer.from(text));
    writeFileSync(join(blobs, digest), text);
    return { mediaType, digest: `sha256:${digest}`, size: Buffer.byteLength(text) };
  };
  const created = new Date(createdS * 1000).toISOString().replace(".000Z", "Z");
  const stored = layers.map(({ tar, gz }): Descriptor => {
    const file = gz ?? tar;
    const digest = sha256(readFileSync(file));
    copyFileSync(file, join(blobs, digest));
    return {
      mediaType: `application/vnd.oci.image.layer.v1.tar${gz === undefined ? "" : "+gzip"}`,
      digest: `sha256:${digest}`,
      size: statSync(file).size,
    };
  });
  const config = put("application/vnd.oci.image.config.v1+json", {
    created,
    architecture,
    os: "linux",
    config: runs,
    rootfs: { type: "layers", diff_ids: layers.map(({ tar }) => `sha256:${sha256(readFileSync(tar))}`) },
    history: layers.map(({ what }) => ({ created, created_by: madeBy, comment: what })),
  });
  const manifest = put("application/vnd.oci.image.manifest.v1+json", {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config,
    layers: stored,
  });
  const annotations = {
    "io.containerd.image.name": name,
    "org.opencontainers.image.ref.name": name.slice(name.lastIndexOf(":") + 1),
  };
  const index = {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: [{ ...manifest, platform: { architecture, os: "linux" }, annotations }],
  };
  writeFileSync(join(into, "index.json"), JSON.stringify(index));
  writeFileSync(join(into, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  return manifest.digest;
}

if (import.meta.main) {
  const [folder = "", createdS = ""] = process.argv.slice(2);
  if (!/^\d+$/.test(createdS)) throw new Error("usage: node tools/image/archive.ts FOLDER SECONDS");
  const { version }: { version: string } = JSON.parse(
    readFileSync(new URL("../../package.json", import.meta.url), "utf8"),
  );
  const layer = (name: string, what: string): LayerFiles => ({
    tar: join(folder, `${name}.tar`),
    gz: join(folder, `${name}.tar.gz`),
    what,
  });
  const name = imageName(version);
  const digest = writeArchive({
    name,
    layers: [layer("base", "Debian's libraries and Node"), layer("app", "Fairlead and its modules")],
    runs: {
      ...runtimeConfig,
      Labels: { ...imageLabels, "org.opencontainers.image.version": version },
    },
    createdS: Number(createdS),
    madeBy: "tools/image.sh",
    into: join(folder, "oci"),
  });
  process.stdout.write(`${name} ${digest}\n`);
}
