// Fairlead's image once more with another version number, as an upgrade brings it: the same layers and one on top.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { z } from "zod";
import { imageName } from "../../tools/image/archive.ts";
import { execOk } from "../../lab/exec.ts";
import { readJson } from "../../lab/json.ts";
import type { Lab } from "../../lab/record.ts";
import { present } from "../../src/base/assert.ts";
import { imageFile } from "./network-fairlead.ts";

const packageFile = fileURLToPath(new URL("../../package.json", import.meta.url));
/** Where the program looks for its version in the image. */
const packageInImage = "opt/fairlead/package.json";
const tarWithinMs = 60_000;

/** As much of OCI image layouts (image-spec 1.1) as is changed; the rest is kept as it stands. */
const descriptor = z.looseObject({ digest: z.string(), size: z.number() });
const indexSchema = z.looseObject({ manifests: z.tuple([descriptor]) });
const manifestSchema = z.looseObject({ config: descriptor, layers: z.array(descriptor) });
const configSchema = z.looseObject({ rootfs: z.looseObject({ diff_ids: z.array(z.string()) }) });

export interface VersionedImage {
  version: string;
  /** By which manifests ask for it. */
  name: string;
  file: string;
}

/** The image that `make image` has made. */
export function presentImage(): VersionedImage {
  const { version } = readJson(z.object({ version: z.string() }), readFileSync(packageFile, "utf8"), packageFile);
  return { version, name: imageName(version), file: imageFile };
}

/** Makes the next minor version of it, in the empty folder `into`. */
export async function makeNextImage({ env }: Lab, into: string): Promise<VersionedImage> {
  const { version } = presentImage();
  const next = version.replace(/^(\d+)\.(\d+)\..*$/, (_, major, minor) => `${major}.${Number(minor) + 1}.0`);
  const layout = `${into}/layout`;
  mkdirSync(layout, { recursive: true });
  await execOk("tar", ["--extract", `--file=${imageFile}`, `--directory=${layout}`], { env, timeoutMs: tarWithinMs });
  const layer = await makeLayer(`${into}/root`, next, env);
  const read = <S extends z.ZodType>(schema: S, path: string): z.output<S> =>
    readJson(schema, readFileSync(`${layout}/${path}`, "utf8"), path);
  const blob = (bytes: Uint8Array): { digest: string; size: number } => {
    const hex = sha256(bytes);
    writeFileSync(`${layout}/blobs/sha256/${hex}`, bytes);
    return { digest: `sha256:${hex}`, size: bytes.length };
  };
  const json = (value: object): { digest: string; size: number } => blob(Buffer.from(JSON.stringify(value)));
  const pathOf = ({ digest }: { digest: string }): string => `blobs/${digest.replace(":", "/")}`;
  const index = read(indexSchema, "index.json");
  const manifest = read(manifestSchema, pathOf(index.manifests[0]));
  const config = read(configSchema, pathOf(manifest.config));
  config.rootfs.diff_ids.push(`sha256:${sha256(layer)}`);
  Object.assign(manifest.config, json({ ...config, history: undefined }));
  manifest.layers.push({ ...present(manifest.layers[0], "layer"), ...blob(gzipSync(layer)) });
  const name = imageName(next);
  const annotations = { "io.containerd.image.name": name, "org.opencontainers.image.ref.name": next };
  Object.assign(index.manifests[0], json(manifest), { annotations });
  writeFileSync(`${layout}/index.json`, JSON.stringify(index));
  const file = `${into}/image.tar`;
  await execOk("tar", ["--create", `--file=${file}`, `--directory=${layout}`, "."], { env, timeoutMs: tarWithinMs });
  return { version: next, name, file };
}

/** A tar of nothing but the file that says the version. */
async function makeLayer(root: string, version: string, env: Lab["env"]): Promise<Buffer> {
  const file = `${root}/${packageInImage}`;
  mkdirSync(file.slice(0, file.lastIndexOf("/")), { recursive: true });
  const text = readFileSync(packageFile, "utf8");
  writeFileSync(file, text.replace(/^ {2}"version": ".*",$/m, `  "version": "${version}",`), { mode: 0o644 });
  await execOk("tar", ["--create", `--file=${root}.tar`, `--directory=${root}`, packageInImage], { env });
  return readFileSync(`${root}.tar`);
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
