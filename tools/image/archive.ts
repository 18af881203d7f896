// The OCI archive: layers, configuration, manifest and index, each named by its digest, in the form that `ctr images import` takes.

import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The file that runs in a container, and with what around it: the Dockerfile says the same. */
export const runtimeConfig = {
  Entrypoint: ["/usr/bin/fairlead"],
  Env: ["PATH=/usr/bin"],
  WorkingDir: "/",
} as const;

export interface LayerFiles {
  /** As it is unpacked, and as it is stored. */
  tar: string;
  gz: string;
  /** What is in it, for people. */
  what: string;
}

export interface ArchiveOptions {
  layers: readonly LayerFiles[];
  version: string;
  architecture: "amd64" | "arm64";
  /** When the image was made, in s since 1970: the only time in it. */
  createdS: number;
  /** An empty folder for the archive's files. */
  into: string;
}

interface Descriptor {
  mediaType: string;
  digest: string;
  size: number;
}

/** The name under which a cluster's manifests ask for the image. */
export const imageName = (version: string): string => `fairlead.dev/fairlead:${version}`;

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** Writes the files of an archive; gives the digest of its manifest, by which the image is known. */
export function writeArchive({ layers, version, architecture, createdS, into }: ArchiveOptions): string {
  const blobs = join(into, "blobs/sha256");
  mkdirSync(blobs, { recursive: true });
  const put = (mediaType: string, value: object): Descriptor => {
    const text = JSON.stringify(value);
    const digest = sha256(Buffer.from(text));
    writeFileSync(join(blobs, digest), text);
    return { mediaType, digest: `sha256:${digest}`, size: Buffer.byteLength(text) };
  };
  const created = new Date(createdS * 1000).toISOString().replace(".000Z", "Z");
  const stored = layers.map(({ gz }): Descriptor => {
    const digest = sha256(readFileSync(gz));
    copyFileSync(gz, join(blobs, digest));
    return {
      mediaType: "application/vnd.oci.image.layer.v1.tar+gzip",
      digest: `sha256:${digest}`,
      size: statSync(gz).size,
    };
  });
  const config = put("application/vnd.oci.image.config.v1+json", {
    created,
    architecture,
    os: "linux",
    config: {
      ...runtimeConfig,
      Labels: {
        "org.opencontainers.image.title": "fairlead",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.licenses": "Apache-2.0",
      },
    },
    rootfs: { type: "layers", diff_ids: layers.map(({ tar }) => `sha256:${sha256(readFileSync(tar))}`) },
    history: layers.map(({ what }) => ({ created, created_by: "tools/image.sh", comment: what })),
  });
  const manifest = put("application/vnd.oci.image.manifest.v1+json", {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config,
    layers: stored,
  });
  const annotations = {
    "io.containerd.image.name": imageName(version),
    "org.opencontainers.image.ref.name": version,
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
  const digest = writeArchive({
    layers: [layer("base", "Debian's libraries and Node"), layer("app", "Fairlead and its modules")],
    version,
    architecture: process.arch === "arm64" ? "arm64" : "amd64",
    createdS: Number(createdS),
    into: join(folder, "oci"),
  });
  process.stdout.write(`${imageName(version)} ${digest}\n`);
}
