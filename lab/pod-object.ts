// A pod as a scenario wishes it: the words for its labels, account and ports, and the object that the API server gets of it.

/** Where a pod is that says no other namespace. */
export const namespaceDefault = "default";

export type Labels = Readonly<Record<string, string>>;

/** Labels to set; null takes one away. */
export type LabelChanges = Readonly<Record<string, string | null>>;

/** A port of a container that has a name. */
export interface ContainerPort {
  name: string;
  port: number;
  protocol: "tcp" | "udp";
}

export interface PodWish {
  node: string;
  namespace?: string;
  hostNetwork?: boolean;
  labels?: Labels;
  /** Its service account. */
  account?: string;
  ports?: readonly ContainerPort[];
}

/** Labels, or named ports, of one step. */
const wordsMax = 32;

/** `app=web,tier=front`; gives what is wrong as text. */
export function readLabels(text: string): Labels | string {
  const changes = readLabelChanges(text);
  if (typeof changes === "string") return changes;
  const entries = Object.entries(changes).flatMap(([key, value]): [string, string][] =>
    value === null ? [] : [[key, value]],
  );
  return entries.length === Object.keys(changes).length
    ? Object.fromEntries(entries)
    : `labels are KEY=VALUE, joined by commas; not ${text}`;
}

/** `app=web,tier-`: the second is taken away; gives what is wrong as text. */
export function readLabelChanges(text: string): LabelChanges | string {
  const words = text.split(",");
  if (words.length > wordsMax) return `at most ${wordsMax} labels`;
  const changes = new Map<string, string | null>();
  for (const word of words) {
    const { key, value, gone } = /^(?<key>[\w./-]+?)(?:=(?<value>[\w.-]*)|(?<gone>-))$/.exec(word)?.groups ?? {};
    if (key === undefined) return `labels are KEY=VALUE, joined by commas; not ${word}`;
    if (changes.has(key)) return `label ${key} is said twice`;
    changes.set(key, gone === undefined ? (value ?? "") : null);
  }
  return Object.fromEntries(changes);
}

/** `http=8080/tcp,dns=5353/udp`; gives what is wrong as text. */
export function readPorts(text: string): ContainerPort[] | string {
  const words = text.split(",");
  if (words.length > wordsMax) return `at most ${wordsMax} ports`;
  const ports: ContainerPort[] = [];
  for (const word of words) {
    const { name, port, protocol } =
      /^(?<name>[a-z][a-z0-9-]{0,14})=(?<port>\d{1,5})\/(?<protocol>tcp|udp)$/.exec(word)?.groups ?? {};
    const number = Number(port);
    if (name === undefined || (protocol !== "tcp" && protocol !== "udp") || number < 1 || number > 65_535)
      return `ports are NAME=NUMBER/tcp or NAME=NUMBER/udp, joined by commas; not ${word}`;
    if (ports.some((other) => other.name === name)) return `port ${name} is said twice`;
    ports.push({ name, port: number, protocol });
  }
  return ports;
}

/** What the scheduler has made of it: a Pod that is bound to its node. */
export function podObject(
  name: string,
  { node, namespace = namespaceDefault, hostNetwork = false, labels = {}, account, ports = [] }: PodWish,
): object {
  const containerPorts = ports.map((one) => ({
    name: one.name,
    containerPort: one.port,
    protocol: one.protocol.toUpperCase(),
  }));
  return {
    metadata: { name, namespace, labels },
    spec: {
      nodeName: node,
      hostNetwork,
      ...(account === undefined ? {} : { serviceAccountName: account }),
      containers: [{ name: "main", image: "lab", ...(containerPorts.length === 0 ? {} : { ports: containerPorts }) }],
    },
  };
}
