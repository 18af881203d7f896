// Files and settings, one thing changed at a time, and all that the audit says of it.

import { present } from "../../src/base/assert.ts";
import { type Case, type Exact, file, key, stopped, testCases } from "../../test/exact-node.ts";
import type { SeenFile } from "./files.ts";

const fileOf = ({ seen }: Exact, path: string): SeenFile =>
  present(
    seen.files.find((one) => one.path === path),
    path,
  );
const lose = ({ seen }: Exact, path: string): void => {
  seen.files = seen.files.filter((one) => one.path !== path);
};
const release = (name: string, releases?: string): SeenFile => ({
  ...file(`/a/run/releases/${name}`, 0o600),
  ...(releases === undefined ? {} : { releases }),
});

const files: Case[] = [
  ["a plugin that is gone", (one) => lose(one, "/a/bin/fairlead-cni"), ["file /a/bin/fairlead-cni is missing"]],
  ["a socket that is gone", (one) => lose(one, "/a/run/cni.sock"), ["socket /a/run/cni.sock is missing"]],
  [
    "modes",
    (one) => {
      fileOf(one, "/a/run/cni.sock").mode = 0o666;
      fileOf(one, "/a/state").mode = 0o755;
      fileOf(one, "/a/state/fairlead.db").mode = 0o644;
      fileOf(one, "/a/conf").mode = 0o777;
    },
    [
      "directory /a/state has mode 0755, not 0700",
      "socket /a/run/cni.sock has mode 0666, not 0600",
      "file /a/state/fairlead.db has mode 0644, not 0600",
    ],
  ],
  [
    "another kind",
    (one) => (fileOf(one, "/a/run/cni.sock").kind = "other"),
    ["/a/run/cni.sock is a other, not a socket"],
  ],
  [
    "temporary files",
    ({ seen }) => seen.files.push(file("/a/bin/.fairlead-cni.12", 0o755), file("/a/run/releases/.1.release", 0o600)),
    [
      "file /a/bin/.fairlead-cni.12 is there, and nobody needs it",
      "file /a/run/releases/.1.release is there, and nobody needs it",
    ],
  ],
  [
    "temporary files of an agent that was killed, and others",
    ({ node, seen }) => {
      node.agent = "killed";
      delete seen.agent;
      const half = ".fairlead-cni.0123456789ab";
      seen.files.push(
        file(`/a/bin/${half}`, 0o600),
        file(`/a/run/${half}`, 0o600),
        file("/a/bin/.x.0123456789ab", 0o600),
      );
    },
    [
      "file /a/run/.fairlead-cni.0123456789ab is there, and nobody needs it",
      "file /a/bin/.x.0123456789ab is there, and nobody needs it",
    ],
  ],
  [
    "a file of somebody else",
    ({ node, seen }) => {
      node.foreignFiles = ["/a/conf/99-loopback.conf"];
      seen.files.push(file("/a/conf/99-loopback.conf", 0o644));
    },
    [],
  ],
  [
    "release files while an agent runs",
    ({ seen }) => seen.files.push(release("1.release", key), release("2.release"), release("3.release.bad")),
    [
      `~release file /a/run/releases/1.release for ${key} is not applied`,
      "~release file /a/run/releases/2.release cannot be read",
      "file /a/run/releases/3.release.bad is there, and nobody needs it",
    ],
  ],
  [
    "release files without an agent",
    (one) => {
      stopped(one);
      one.seen.files.push(
        release("1.release", key),
        { ...release("2.release", key), mode: 0o644 },
        release("3.release"),
      );
    },
    [
      "release file /a/run/releases/2.release has mode 0644, not 0600",
      "release file /a/run/releases/3.release cannot be read",
    ],
  ],
  [
    "sockets and a log that an agent left though it stopped in order",
    ({ node, seen }) => {
      node.agent = "stopped";
      delete seen.agent;
    },
    [
      "socket /a/run/cni.sock is there, though no agent runs",
      "socket /a/run/status.sock is there, though no agent runs",
      "file /a/state/fairlead.db-wal is there, though no agent runs",
    ],
  ],
  [
    "the same after a kill",
    ({ node, seen }) => {
      node.agent = "killed";
      delete seen.agent;
    },
    [],
  ],
];

const settings: Case[] = [
  [
    "settings that are wrong and not there",
    ({ seen }) => {
      seen.settings = new Map([...seen.settings, ["ipv4/ip_forward", "0"], ["ipv6/conf/eth0/accept_ra", "1"]]);
      (seen.settings as Map<string, string>).delete("ipv6/conf/all/forwarding");
    },
    [
      "setting ipv4/ip_forward is 0, not 1",
      "setting ipv6/conf/all/forwarding is not there, not 1",
      "setting ipv6/conf/eth0/accept_ra is 1: a forwarding uplink learns no routes by it",
    ],
  ],
  [
    "an uplink that was never to learn",
    ({ seen }) => (seen.settings = new Map([...seen.settings, ["ipv6/conf/eth0/accept_ra", "0"]])),
    [],
  ],
];

testCases([...files, ...settings]);
