// Whole requests: the order of errors, what each verb makes of prevResult, and the calls that libcni really makes.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as fc from "fast-check";
import { type FaultCode, isFault } from "../base/fault.ts";
import { containerIdLengthMax } from "./environment.ts";
import { networkNameLengthMax } from "./netconf.ts";
import { attachmentNameLengthMax, parseRequest } from "./request.ts";
import { type CniRequest, supportedVersions, verbs } from "./types.ts";

const env = { CNI_CONTAINERID: "abc", CNI_NETNS: "/run/netns/x", CNI_IFNAME: "eth0", CNI_PATH: "/opt/cni/bin" };
const config = { cniVersion: "1.1.0", name: "fairlead", type: "fairlead-cni" };
const prevResult = { cniVersion: "1.1.0", ips: [{ address: "10.0.0.1/32" }] };

interface Case {
  verb: string;
  env?: Record<string, string>;
  stdin?: unknown;
}

function parse({ verb, env: changes, stdin = config }: Case): ReturnType<typeof parseRequest> {
  const text = typeof stdin === "string" ? stdin : JSON.stringify(stdin);
  return parseRequest({
    env: new Map(Object.entries({ CNI_COMMAND: verb, ...env, ...changes })),
    stdin: new TextEncoder().encode(text),
  });
}

function accepts(request: Case): CniRequest {
  const parsed = parse(request);
  assert.ok(parsed.verb !== "VERSION");
  return parsed;
}

function refuses(request: Case, code: FaultCode, message: RegExp): void {
  assert.throws(
    () => parse(request),
    (error) => isFault(error, code) && message.test(error.message),
    JSON.stringify(request),
  );
}

void test("the environment is judged before stdin", () => {
  refuses({ verb: "FOO", stdin: "" }, "bad-environment", /unknown CNI_COMMAND/);
  refuses({ verb: "ADD", env: { CNI_IFNAME: "" }, stdin: "junk" }, "bad-environment", /CNI_IFNAME/);
  refuses({ verb: "ADD", stdin: "junk" }, "bad-json", /./);
});

void test("VERSION reads no configuration: no stdin, empty stdin, junk stdin", () => {
  for (const stdin of ["", "junk", "[]", { cniVersion: "9.9.9" }]) {
    assert.deepEqual(parse({ verb: "VERSION", stdin }), { verb: "VERSION", cniVersion: "1.1.0" });
  }
  assert.deepEqual(parse({ verb: "VERSION", stdin: { cniVersion: "0.4.0" } }), {
    verb: "VERSION",
    cniVersion: "0.4.0",
  });
});

void test("CHECK without prevResult is code 7", () => {
  refuses({ verb: "CHECK" }, "bad-network-config", /prevResult is missing/);
  refuses({ verb: "CHECK", stdin: { ...config, prevResult: null } }, "bad-network-config", /prevResult is missing/);
  const request = accepts({ verb: "CHECK", stdin: { ...config, prevResult } });
  assert.deepEqual(request.prevResult?.ips, [{ address: "10.0.0.1", prefix: 32 }]);
});

const malformed = ["x", 1, [], { ips: {} }, { ips: [{ address: "10.0.0.1" }] }, { interfaces: [1] }, { ip4: "x" }];

void test("a malformed prevResult fails CHECK and ADD, never DEL, and is nothing to GC and STATUS", () => {
  for (const prevResult of malformed) {
    const stdin = { ...config, prevResult };
    refuses({ verb: "CHECK", stdin }, "bad-network-config", /^prevResult/);
    refuses({ verb: "ADD", stdin }, "bad-network-config", /^prevResult/);
    for (const verb of ["DEL", "GC", "STATUS"]) assert.ok(!("prevResult" in accepts({ verb, stdin })));
  }
});

void test("DEL: prevResult missing, empty or from another version is still good", () => {
  for (const prevResult of [
    undefined,
    null,
    {},
    { cniVersion: "0.2.0", ip4: { ip: "10.0.0.1/32" } },
    { cniVersion: "9.9.9" },
  ]) {
    assert.equal(accepts({ verb: "DEL", stdin: { ...config, prevResult } }).containerId, "abc");
  }
});

void test("ADD in a chain has what came before, both as it came and as it was read", () => {
  const request = accepts({ verb: "ADD", stdin: { ...config, prevResult: { ...prevResult, foreign: 1 } } });
  assert.deepEqual(request.config.prevResult, { ...prevResult, foreign: 1 });
  assert.equal(request.prevResult?.ips[0]?.address, "10.0.0.1");
});

void test("only GC has a list of attachments to keep", () => {
  const stdin = { ...config, "cni.dev/valid-attachments": [{ containerID: "a", ifname: "eth0" }] };
  assert.deepEqual(accepts({ verb: "GC", stdin }).validAttachments, [{ containerId: "a", ifname: "eth0" }]);
  assert.ok(!("validAttachments" in accepts({ verb: "GC" })));
  assert.ok(!("validAttachments" in accepts({ verb: "ADD", stdin })));
  refuses(
    { verb: "GC", stdin: { ...config, "cni.dev/valid-attachments": {} } },
    "bad-network-config",
    /must be an array/,
  );
});

void test("the three names of an attachment must fit the alias of a link together", () => {
  const name = "n".repeat(networkNameLengthMax);
  const room = attachmentNameLengthMax - networkNameLengthMax - "//eth0".length;
  const stdin = { ...config, name };
  assert.equal(accepts({ verb: "ADD", env: { CNI_CONTAINERID: "c".repeat(room) }, stdin }).config.name, name);
  const long = { CNI_CONTAINERID: "c".repeat(room + 1) };
  refuses({ verb: "ADD", env: long, stdin }, "bad-environment", /241 bytes together/);
  assert.ok(accepts({ verb: "GC", env: long, stdin }));
  assert.ok(containerIdLengthMax + "/fairlead/".length + 15 <= attachmentNameLengthMax);
});

interface RecordedCalls {
  calls: { env: Record<string, string>; stdin: string }[];
}

void test("every call that libcni makes is read", () => {
  const file = new URL("../../test/fixtures/libcni-calls.json", import.meta.url);
  const { calls }: RecordedCalls = JSON.parse(readFileSync(file, "utf8"));
  assert.equal(calls.length, 10);
  for (const { env, stdin } of calls) {
    const request = parseRequest({ env: new Map(Object.entries(env)), stdin: new TextEncoder().encode(stdin) });
    assert.ok(request.verb !== "VERSION");
    assert.equal(request.verb, env["CNI_COMMAND"]);
    assert.equal(request.config.name, "fairlead");
    assert.deepEqual(request.config.runtimeConfig, JSON.parse(stdin).runtimeConfig);
    if (request.verb === "CHECK") {
      assert.equal(request.prevResult?.ips[0]?.address, "10.1.2.3");
      assert.equal(request.prevResult.interfaces[1]?.sandbox, request.netns);
    }
    if (request.verb === "GC") assert.deepEqual(request.validAttachments, [{ containerId: "abc", ifname: "eth0" }]);
    if (request.verb === "ADD") assert.deepEqual(request.args, { K8S_POD_NAME: "p" });
  }
});

void test("random requests give a request or one of the codes 1, 2, 4, 6 and 7", () => {
  const known = ["name", "cniVersion", "type", "prevResult", "cni.dev/valid-attachments", "args", "__proto__"];
  const result = fc.record(
    {
      ips: fc.jsonValue(),
      interfaces: fc.jsonValue(),
      routes: fc.jsonValue(),
      dns: fc.jsonValue(),
      ip4: fc.jsonValue(),
    },
    { requiredKeys: [] },
  );
  const value = fc.oneof(fc.jsonValue(), fc.constantFrom("fairlead", ...supportedVersions), result);
  const stdin = fc.oneof(
    fc.json(),
    fc.string(),
    fc.dictionary(fc.constantFrom(...known), value).map((random) => JSON.stringify({ ...config, ...random })),
  );
  fc.assert(
    fc.property(fc.constantFrom(...verbs), stdin, (verb, stdin) => {
      try {
        assert.equal(parse({ verb, stdin }).verb, verb);
      } catch (error) {
        assert.ok(
          isFault(error, "cni-version", "unsupported-value", "bad-environment", "bad-json", "bad-network-config"),
          String(error),
        );
      }
    }),
    { numRuns: 3000 },
  );
});
