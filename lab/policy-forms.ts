// The forms of steps about who may talk to whom: pods with labels, namespaces, objects from files, the table of flows, held connections.

import type { Action } from "./actions.ts";
import { expectation, type Form, pattern } from "./form.ts";
import { type PodWish, readLabelChanges, readLabels, readPorts } from "./pod-object.ts";

/** A file of lab/scenarios/objects by its name. */
const file = "(?<file>[a-z0-9][a-z0-9.-]{0,60}\\.yaml)";
const labels = "(?: labels (?<labels>\\S+))?";
const connection = "the connection from (?<from>NAME) to (?<to>NAME)";
/** Seconds that a cut may take. */
const resetMaxSeconds = 120;

export const policyForms: readonly Form[] = [
  {
    shape:
      "pod NAME on NODE [in NAMESPACE] [hostNetwork] [labels KEY=VALUE,…] [account NAME] [ports NAME=NUMBER/tcp|udp,…]",
    pattern: pattern(
      `pod (?<pod>NAME) on (?<node>NAME)(?: in (?<namespace>NAME))?(?<host> hostNetwork)?${labels}(?: account (?<account>NAME))?(?: ports (?<ports>\\S+))?`,
    ),
    read: readPod,
  },
  {
    shape: "namespace NAME [labels KEY=VALUE,…]",
    pattern: pattern(`namespace (?<namespace>NAME)${labels}`),
    read: ({ namespace = "", labels: text }) => {
      const read = text === undefined ? {} : readLabels(text);
      return typeof read === "string" ? read : { do: "add namespace", namespace, labels: read };
    },
  },
  ...(["pod", "namespace"] as const).map((kind): Form => ({
    shape: `label ${kind} NAME KEY=VALUE,KEY-…`,
    pattern: pattern(`label ${kind} (?<name>NAME) (?<labels>\\S+)`),
    read: ({ name = "", labels: text = "" }) => {
      const read = readLabelChanges(text);
      return typeof read === "string" ? read : { do: "label", kind, name, labels: read };
    },
  })),
  ...(["apply", "delete"] as const).map((change): Form => ({
    shape: `${change} FILE.yaml`,
    pattern: pattern(`${change} ${file}`),
    read: ({ file: name = "" }) => ({ do: "objects", change, file: name }),
  })),
  {
    shape: "hold a connection from A to B [port NUMBER]",
    pattern: pattern("hold a connection from (?<from>NAME) to (?<to>NAME)(?: port (?<port>\\d{1,5}))?"),
    read: ({ from = "", to = "", port }) => ({
      do: "hold",
      pair: { from, to },
      ...(port === undefined ? {} : { port: Number(port) }),
    }),
  },
  expectation('apply FILE.yaml fails with "WORDS"', {
    words: `apply ${file} fails with "(?<words>[^"]+)"`,
    read: ({ file: name = "", words = "" }) => ({ expect: "failing apply", file: name, words }),
  }),
  expectation("group NAME has N members and is enforced on N nodes", {
    words: "group (?<group>NAME) has (?<members>\\d{1,4}) members? and is enforced on (?<nodes>\\d{1,3}) nodes?",
    read: ({ group = "", members, nodes }) => ({
      expect: "enforced group",
      group,
      members: Number(members),
      nodes: Number(nodes),
    }),
  }),
  expectation("every flow passes or not as fairlead why says", {
    words: "every flow passes or not as fairlead why says",
    read: () => ({ expect: "flows", as: "why says" }),
  }),
  expectation("every flow passes or not as before", {
    words: "every flow passes or not as before",
    read: () => ({ expect: "flows", as: "before" }),
  }),
  expectation('fairlead why from A to B port NUMBER says "WORDS"', {
    words: 'fairlead why from (?<from>NAME) to (?<to>NAME) port (?<port>\\d{1,5}) says "(?<words>[^"]+)"',
    read: ({ from = "", to = "", port, words = "" }) => ({
      expect: "explained flow",
      pair: { from, to },
      port: Number(port),
      words,
    }),
  }),
  expectation('NODE tells that A to B was denied by "OBJECT"', {
    words: '(?<node>NAME) tells that (?<from>NAME) to (?<to>NAME) was denied by "(?<object>[^"]+)"',
    read: ({ node = "", from = "", to = "", object = "" }) => ({
      expect: "told denial",
      node,
      pair: { from, to },
      object,
    }),
  }),
  expectation("the connection from A to B goes on", {
    words: `${connection} goes on`,
    read: ({ from = "", to = "" }) => ({ expect: "held connection", pair: { from, to }, is: "going on" }),
  }),
  expectation("the connection from A to B is reset within SECONDSs", {
    words: `${connection} is reset within (?<limit>\\d{1,3})s`,
    read: ({ from = "", to = "", limit }) => {
      const seconds = Number(limit);
      if (seconds < 1 || seconds > resetMaxSeconds) return `a cut takes 1 to ${resetMaxSeconds} s`;
      return { expect: "held connection", pair: { from, to }, is: "reset", withinMs: seconds * 1000 };
    },
  }),
];

function readPod(words: Readonly<Record<string, string | undefined>>): Action | string {
  const { pod = "", node = "", namespace, host, account } = words;
  const podLabels = words["labels"] === undefined ? {} : readLabels(words["labels"]);
  if (typeof podLabels === "string") return podLabels;
  const ports = words["ports"] === undefined ? [] : readPorts(words["ports"]);
  if (typeof ports === "string") return ports;
  if (host !== undefined && ports.length > 0) return "ports of a hostNetwork pod would be its node's";
  const wish: PodWish = {
    node,
    labels: podLabels,
    ports,
    ...(host === undefined ? {} : { hostNetwork: true }),
    ...(namespace === undefined ? {} : { namespace }),
    ...(account === undefined ? {} : { account }),
  };
  return { do: "add pod", pod, wish };
}
