// The environment table, rule by rule, as the specification and the common library have it.

import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { type FaultCode, faults, isFault } from "../base/fault.ts";
import { argLengthMax, argsLengthMax, containerIdLengthMax, netnsLengthMax, parseEnvironment } from "./environment.ts";
import { verbs } from "./types.ts";

const good = {
  CNI_COMMAND: "ADD",
  CNI_CONTAINERID: "abc123",
  CNI_NETNS: "/run/netns/pod",
  CNI_IFNAME: "eth0",
  CNI_ARGS: "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web-0",
  CNI_PATH: "/opt/cni/bin",
};

function parse(changes: Record<string, string>): ReturnType<typeof parseEnvironment> {
  return parseEnvironment(new Map(Object.entries({ ...good, ...changes })));
}

function refuses(changes: Record<string, string>, message: RegExp, code: FaultCode = "bad-environment"): void {
  assert.throws(
    () => parse(changes),
    (error) => isFault(error, code) && message.test(error.message),
    JSON.stringify(changes),
  );
}

void test("bad-environment is error code 4 and unsupported-value is error code 2", () => {
  assert.equal(faults["bad-environment"].cni, 4);
  assert.equal(faults["unsupported-value"].cni, 2);
});

void test("a good environment is read whole", () => {
  assert.deepEqual(parse({}), {
    verb: "ADD",
    containerId: "abc123",
    netns: "/run/netns/pod",
    ifname: "eth0",
    args: { K8S_POD_NAMESPACE: "default", K8S_POD_NAME: "web-0" },
    path: "/opt/cni/bin",
  });
});

void test("no CNI_COMMAND at all, or an empty one", () => {
  refuses({ CNI_COMMAND: "" }, /^required environment variables \[CNI_COMMAND\] missing$/);
  assert.throws(() => parseEnvironment(new Map()), /\[CNI_COMMAND\] missing/);
});

void test("an unknown verb", () => {
  for (const CNI_COMMAND of ["add", "FOO", "ADD ", "ADD\n", "constructor", "__proto__", "0"]) {
    refuses({ CNI_COMMAND }, /^unknown CNI_COMMAND/);
  }
});

void test("several missing variables are all named in one message", () => {
  const none = { CNI_CONTAINERID: "", CNI_NETNS: "", CNI_IFNAME: "" };
  refuses(none, /\[CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME\] missing/);
  refuses({ ...none, CNI_COMMAND: "CHECK" }, /\[CNI_CONTAINERID,CNI_NETNS,CNI_IFNAME\] missing/);
  refuses({ ...none, CNI_COMMAND: "DEL" }, /\[CNI_CONTAINERID,CNI_IFNAME\] missing/);
});

void test("a bad value is told before a missing one", () => {
  refuses({ CNI_CONTAINERID: "", CNI_IFNAME: "a/b" }, /CNI_IFNAME/);
  refuses({ CNI_CONTAINERID: "a/b", CNI_IFNAME: "a/b" }, /CNI_CONTAINERID/);
});

void test("what each verb needs", () => {
  const needs: Record<string, string[]> = {
    ADD: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
    CHECK: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
    DEL: ["CNI_CONTAINERID", "CNI_IFNAME"],
    GC: ["CNI_PATH"],
    STATUS: [],
    VERSION: [],
  };
  for (const verb of verbs) {
    for (const name of ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"]) {
      const changes = { CNI_COMMAND: verb, [name]: "" };
      if (needs[verb]?.includes(name)) refuses(changes, new RegExp(String.raw`\[${name}\] missing`));
      else assert.equal(parse(changes).verb, verb);
    }
  }
});

void test("DEL without CNI_NETNS has no path", () => {
  assert.ok(!("netns" in parse({ CNI_COMMAND: "DEL", CNI_NETNS: "" })));
  assert.equal(parse({ CNI_COMMAND: "DEL" }).netns, "/run/netns/pod");
});

void test("a container id with a slash, dots first, a space, a newline or a digit that is not ASCII", () => {
  for (const CNI_CONTAINERID of [
    "a/b",
    "..",
    ".",
    "-a",
    "_a",
    "a b",
    "abc\n",
    "\nabc",
    "a\0",
    "１",
    "a１",
    "ä",
    "a\u{fffd}",
  ]) {
    refuses({ CNI_CONTAINERID }, /CNI_CONTAINERID/);
  }
  for (const CNI_CONTAINERID of ["a", "0", "A_b.c-9", "a..", "a".repeat(containerIdLengthMax)]) {
    assert.equal(parse({ CNI_CONTAINERID }).containerId, CNI_CONTAINERID);
  }
  refuses({ CNI_CONTAINERID: "a".repeat(containerIdLengthMax + 1) }, /longer than 192/);
});

void test("an interface name of 15 bytes is accepted, one of 16 bytes refused, whatever its characters", () => {
  assert.equal(parse({ CNI_IFNAME: "a23456789012345" }).ifname, "a23456789012345");
  assert.equal(parse({ CNI_IFNAME: "ééééééé" }).ifname, "ééééééé");
  refuses({ CNI_IFNAME: "a234567890123456" }, /longer than 15 bytes/);
  refuses({ CNI_IFNAME: "é".repeat(15) }, /longer than 15 bytes/);
});

void test("an interface name that is dots, or has a slash, a colon, white space, or what the kernel reads otherwise", () => {
  const refused = [
    ".",
    "..",
    "a/b",
    "a:b",
    "a b",
    "a\tb",
    "a\u{85}b",
    "a\u{a0}b",
    "a\u{2003}b",
    "a\u{3000}b",
    "\n",
    "a\0b",
  ];
  for (const CNI_IFNAME of [...refused, "eth%d", "à", "a\u{fffd}"]) refuses({ CNI_IFNAME }, /CNI_IFNAME/);
  for (const CNI_IFNAME of ["...", "a.b", "eth0@x", "_", "a\u{feff}b"])
    assert.equal(parse({ CNI_IFNAME }).ifname, CNI_IFNAME);
});

void test("a namespace path must be absolute and within bounds", () => {
  for (const CNI_NETNS of ["netns/pod", "./x", "a\0", "/run\0x", `/${"a".repeat(netnsLengthMax)}`]) {
    refuses({ CNI_NETNS }, /CNI_NETNS/);
    assert.ok(!("netns" in parse({ CNI_COMMAND: "DEL", CNI_NETNS })));
  }
  for (const CNI_NETNS of ["/proc/12/ns/net", `/${"a".repeat(netnsLengthMax - 1)}`]) {
    assert.equal(parse({ CNI_NETNS }).netns, CNI_NETNS);
  }
});

void test("junk in variables that GC, STATUS and VERSION do not need is ignored", () => {
  for (const CNI_COMMAND of ["GC", "STATUS", "VERSION"] as const) {
    const junk = { CNI_CONTAINERID: "../x", CNI_NETNS: "x", CNI_IFNAME: "a/b", CNI_ARGS: "junk" };
    const path = "/opt/cni/bin";
    assert.deepEqual(parse({ CNI_COMMAND, ...junk }), {
      verb: CNI_COMMAND,
      containerId: "",
      ifname: "",
      args: {},
      path,
    });
  }
});

void test("CNI_ARGS: every pair has exactly one equals sign, with or without IgnoreUnknown", () => {
  for (const CNI_ARGS of [
    "junk",
    "A",
    "A=B=C",
    "IgnoreUnknown=1;junk",
    "IgnoreUnknown=1;",
    ";",
    "IgnoreUnknown=1;;A=B",
  ]) {
    refuses({ CNI_ARGS }, /CNI_ARGS/);
  }
});

void test("CNI_ARGS: an unknown key is an error unless IgnoreUnknown says otherwise, wherever it stands", () => {
  for (const CNI_ARGS of [
    "FOO=1",
    "FOO=1;IgnoreUnknown=0",
    "IgnoreUnknown=false;FOO=1",
    "__proto__=1",
    "constructor=1",
  ]) {
    refuses({ CNI_ARGS }, /is not known/);
  }
  for (const IgnoreUnknown of ["1", "true", "TRUE", "True"]) {
    assert.deepEqual(parse({ CNI_ARGS: `FOO=1;IgnoreUnknown=${IgnoreUnknown};__proto__=x` }).args, {});
  }
  refuses({ CNI_ARGS: "IgnoreUnknown=yes" }, /IgnoreUnknown=yes/);
});

void test("CNI_ARGS: the names of a pod are read; an empty value is none; the last of two holds", () => {
  const all =
    "K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0.x;K8S_POD_UID=8f14e45f-ceea-467f-a8d4-1c2d3e4f5a6b;K8S_POD_INFRA_CONTAINER_ID=c0";
  assert.deepEqual(parse({ CNI_ARGS: all }).args, {
    K8S_POD_NAMESPACE: "ns",
    K8S_POD_NAME: "web-0.x",
    K8S_POD_UID: "8f14e45f-ceea-467f-a8d4-1c2d3e4f5a6b",
    K8S_POD_INFRA_CONTAINER_ID: "c0",
  });
  assert.deepEqual(parse({ CNI_ARGS: "K8S_POD_UID=;K8S_POD_NAME=a;K8S_POD_NAME=b" }).args, { K8S_POD_NAME: "b" });
  assert.deepEqual(parse({ CNI_ARGS: "" }).args, {});
});

void test("CNI_ARGS: names that no pod can have are refused", () => {
  for (const name of ["../x", "a b", "a/b", "ä", "a".repeat(argLengthMax + 1)]) {
    refuses({ CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAME=${name}` }, /K8S_POD_NAME=/);
  }
  refuses({ CNI_ARGS: `IgnoreUnknown=1;A=${"a".repeat(argsLengthMax)}` }, /longer than 4096/);
});

void test("CNI_ARGS: a wish for an address is passed on as it came", () => {
  assert.deepEqual(parse({ CNI_ARGS: "IP=10.0.0.7;MAC=no mac" }).args, { IP: "10.0.0.7", MAC: "no mac" });
  assert.deepEqual(parse({ CNI_ARGS: "IgnoreUnknown=1;IP=" }).args, {});
});

void test("CNI_ARGS: DEL does not read them, so that what ADD refused can be removed", () => {
  assert.deepEqual(parse({ CNI_COMMAND: "DEL", CNI_ARGS: "junk" }).args, {});
});

void test("foreign text in a message is cut and shows no control character", () => {
  try {
    parse({ CNI_COMMAND: `\u{1b}[31m\n${"x".repeat(10_000)}` });
    assert.fail("accepted");
  } catch (error) {
    assert.ok(isFault(error, "bad-environment"));
    assert.ok(error.message.length < 300);
    assert.ok(!/\p{Cc}/u.test(error.message), error.message);
  }
});

void test("random values never fail otherwise than by codes 4 and 2", () => {
  const value = fc.oneof(
    fc.string({ unit: "binary", maxLength: 30 }),
    fc.constantFrom("", "a", "/x", "K8S_POD_NAME=a", "a=b;c"),
  );
  const command = fc.oneof(fc.constantFrom(...verbs), fc.string());
  fc.assert(
    fc.property(
      command,
      value,
      value,
      value,
      value,
      (CNI_COMMAND, CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_ARGS) => {
        try {
          const { containerId, ifname } = parse({ CNI_COMMAND, CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_ARGS });
          assert.match(`${containerId}/${ifname}`, /^[\w.-]*\/[^/:\s]*$/u);
        } catch (error) {
          assert.ok(isFault(error, "bad-environment", "unsupported-value"), String(error));
        }
      },
    ),
    { numRuns: 1000 },
  );
});
