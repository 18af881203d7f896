// The configuration on stdin: decode (6), name (7), version (1), in that order; and the list that GC gets.

import assert from "node:assert/strict";
import { test } from "node:test";
import { type FaultCode, faults, isFault } from "../base/fault.ts";
import {
  networkNameLengthMax,
  parseNetConfig,
  parseValidAttachments,
  replyVersion,
  validAttachmentsMax,
} from "./netconf.ts";
import { supportedVersions, type Verb, verbs } from "./types.ts";

const base = { cniVersion: "1.1.0", name: "fairlead", type: "fairlead-cni" };
const bytes = (value: unknown): Uint8Array =>
  new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));

function refuses(stdin: unknown, code: FaultCode, message: RegExp, verb: Verb = "ADD"): void {
  assert.throws(
    () => parseNetConfig(bytes(stdin), verb),
    (error) => isFault(error, code) && message.test(error.message),
    `${verb} ${JSON.stringify(stdin)}`,
  );
}

const configVerbs = verbs.filter((verb) => verb !== "VERSION");

void test("the codes of the three kinds of error", () => {
  assert.equal(faults["bad-json"].cni, 6);
  assert.equal(faults["bad-network-config"].cni, 7);
  assert.equal(faults["cni-version"].cni, 1);
});

void test("empty stdin, truncated JSON, two documents, and a top level that is no object are code 6 for every verb", () => {
  for (const verb of configVerbs) {
    for (const stdin of ["", "{", `${JSON.stringify(base)}{}`, "[]", "1", '"x"', "null"]) {
      refuses(stdin, "bad-json", /configuration on stdin/, verb);
    }
  }
});

void test("name missing, of another kind or with bad characters is code 7 for every verb", () => {
  for (const verb of configVerbs) {
    refuses({ ...base, name: undefined }, "bad-network-config", /missing network name/, verb);
    for (const name of ["", null, 1, {}, "a/b", "..", " a", "a\n", "ä", "-a", "a".repeat(networkNameLengthMax + 1)]) {
      refuses({ ...base, name }, "bad-network-config", /name/, verb);
    }
  }
  refuses('{"cniVersion":"1.1.0","__proto__":{"name":"x"}}', "bad-network-config", /missing network name/);
});

void test("a bad name is told before a bad version", () => {
  refuses({ ...base, name: "a/b", cniVersion: "9.9.9" }, "bad-network-config", /name/);
});

void test("cniVersion missing or empty is 0.1.0", () => {
  for (const cniVersion of [undefined, "", null]) {
    assert.equal(parseNetConfig(bytes({ ...base, cniVersion }), "ADD").cniVersion, "0.1.0");
  }
});

void test("each supported version is itself, and nothing near it is one", () => {
  for (const cniVersion of supportedVersions) {
    assert.equal(parseNetConfig(bytes({ ...base, cniVersion }), "ADD").cniVersion, cniVersion);
  }
  for (const cniVersion of ["1.0", "1.1.1", "v1.0.0", "1.0.0 ", "01.0.0", "2.0.0", "0.3.2", "^1.0.0", "constructor"]) {
    refuses({ ...base, cniVersion }, "cni-version", /is not supported; supported are 0\.1\.0, /);
  }
  refuses({ ...base, cniVersion: 1.1 }, "bad-network-config", /cniVersion must be text/);
});

void test("CHECK needs 0.4.0, GC and STATUS need 1.1.0, ADD and DEL nothing", () => {
  const since: Partial<Record<Verb, string>> = { CHECK: "0.4.0", GC: "1.1.0", STATUS: "1.1.0" };
  for (const verb of configVerbs) {
    const first = supportedVersions.findIndex((version) => version === (since[verb] ?? "0.1.0"));
    supportedVersions.forEach((cniVersion, index) => {
      if (index >= first) assert.equal(parseNetConfig(bytes({ ...base, cniVersion }), verb).cniVersion, cniVersion);
      else refuses({ ...base, cniVersion }, "cni-version", new RegExp(`${verb} needs cniVersion`), verb);
    });
  }
});

void test("unknown keys, unknown args and capabilities are tolerated and kept", () => {
  const more = {
    args: { labels: [1], cni: { x: 1 } },
    capabilities: { portMappings: true },
    runtimeConfig: { "io.kubernetes.cri.pod-annotations": {} },
    ipam: { type: "host-local" },
    "cni.dev/whatever": null,
    unknown: [[1]],
  };
  const config = parseNetConfig(bytes({ ...base, ...more }), "ADD");
  assert.deepEqual(config.raw, { ...base, ...more });
  assert.deepEqual(config.args, more.args);
  assert.deepEqual(config.ipam, more.ipam);
  assert.deepEqual(config.capabilities, more.capabilities);
  assert.deepEqual(config.runtimeConfig, more.runtimeConfig);
  assert.ok(!("prevResult" in config));
});

void test("keys of another kind that we do not read are no error", () => {
  const config = parseNetConfig(bytes({ ...base, args: "x", ipam: [], runtimeConfig: null, capabilities: 1 }), "ADD");
  assert.deepEqual(Object.keys(config).sort(), ["cniVersion", "name", "raw", "type"]);
});

void test("type may be absent, but not of another kind", () => {
  assert.equal(parseNetConfig(bytes({ ...base, type: undefined }), "ADD").type, "");
  refuses({ ...base, type: 1 }, "bad-network-config", /type must be text/);
});

void test("the version to answer in is the request's where it has one, else the newest", () => {
  assert.equal(replyVersion(bytes({ cniVersion: "0.4.0", name: "a/b" })), "0.4.0");
  assert.equal(replyVersion(bytes({})), "0.1.0");
  for (const stdin of ["", "junk", "[]", { cniVersion: "9.0.0" }, { cniVersion: 1 }]) {
    assert.equal(replyVersion(bytes(stdin)), "1.1.0");
  }
});

void test("GC keeps what the list names; the legacy key counts where the other is absent", () => {
  const one = [{ containerID: "a", ifname: "eth0", extra: 1 }];
  const kept = [{ containerId: "a", ifname: "eth0" }];
  assert.deepEqual(parseValidAttachments({ "cni.dev/valid-attachments": one }), kept);
  assert.deepEqual(parseValidAttachments({ "cni.dev/attachments": one }), kept);
  assert.deepEqual(parseValidAttachments({ "cni.dev/valid-attachments": [], "cni.dev/attachments": one }), []);
});

void test("no list, or null, is no list: not the empty one, which removes everything", () => {
  assert.equal(parseValidAttachments({}), undefined);
  assert.equal(parseValidAttachments({ "cni.dev/valid-attachments": null, "cni.dev/attachments": null }), undefined);
  assert.deepEqual(parseValidAttachments({ "cni.dev/valid-attachments": [] }), []);
});

void test("a list that is not wholly readable is refused, never half used", () => {
  const good = { containerID: "a", ifname: "eth0" };
  const many = (length: number): unknown[] => Array.from({ length }, () => good);
  const most = parseValidAttachments({ "cni.dev/valid-attachments": many(validAttachmentsMax) });
  assert.equal(most?.length, validAttachmentsMax);
  const bad = [
    {},
    "x",
    1,
    [null],
    [good, {}],
    [good, "x"],
    [{ ...good, ifname: 1 }],
    [{ ...good, containerID: undefined }],
  ];
  for (const list of [...bad, many(validAttachmentsMax + 1)]) {
    assert.throws(
      () => parseValidAttachments({ "cni.dev/valid-attachments": list }),
      (error) => isFault(error, "bad-network-config"),
    );
  }
});
