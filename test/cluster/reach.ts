// Who reaches whom in a cluster under policy: asked from pods and from machines, until it is as it should be.

import { isDeepStrictEqual } from "node:util";
import { present } from "../../src/base/assert.ts";
import { exec } from "../../lab/exec.ts";
import type { NodeLayout } from "../../lab/layout.ts";
import { all, until } from "../../lab/waiting.ts";
import type { KubernetesCluster } from "./cluster.ts";
import { type KubeObject, type PodOptions, serverPort } from "./objects.ts";
import { type Scene, type SeenPod, url } from "./scene.ts";

/** From an edit until all nodes judge by it, on two cores that do everything else, too: a round of questions alone takes seconds. */
const judgedWithinMs = 30_000;
/** What does not answer within this is closed: denied packets have no answer at all. */
const answerWithinS = 1;
const askedEveryMs = 100;

/** A place to ask from: its name, and what curl says there, whatever its exit code. */
export interface Place {
  name: string;
  curl(args: readonly string[]): Promise<string>;
}

export function inPod(scene: Scene, name: string): Place {
  // The shell ends well where curl does not: which answers came is in what curl says.
  const script = 'curl "$@"; true';
  return { name, curl: (args) => scene.run(name, "sh", ["-c", script, "curl", ...args]) };
}

export function inMachineOf({ lab }: KubernetesCluster, { name, netns }: NodeLayout): Place {
  return { name, curl: async (args) => (await exec("curl", args, { env: lab.env, netns })).stdout };
}

/** Which of `urls` answer there, each asked once, all at the same time. */
async function answering(place: Place, urls: readonly string[]): Promise<boolean[]> {
  const options = `--globoff --silent --no-progress-meter --fail --max-time ${answerWithinS} --parallel --parallel-immediate`;
  const outputs = urls.flatMap(() => ["--output", "/dev/null"]);
  const told = "%{urlnum}:%{exitcode}\\n";
  const text = await place.curl([...options.split(" "), "--write-out", told, ...outputs, ...urls]);
  const codes = new Map(text.split("\n").map((line) => [line.split(":")[0], line.split(":")[1]]));
  return urls.map((address, index) => present(codes.get(String(index)), `${address} from ${place.name}`) === "0");
}

/** Which places reach `urls`, and which not; each of them all or none. */
export interface Reach {
  open?: readonly Place[];
  closed?: readonly Place[];
}

/**
 * Settles when all of `open` reach every one of `urls` and none of `closed` reaches a single one.
 * @throws Fault "lab-failed" with who reaches what, where that is not so within 30 s
 */
export function untilReach(what: string, urls: readonly string[], { open = [], closed = [] }: Reach): Promise<void> {
  const asked = async (): Promise<string | undefined> => {
    const places = [...open, ...closed];
    const seen = await all(places.map((place) => answering(place, urls)));
    const wanted = places.map((_, index) => urls.map(() => index < open.length));
    if (isDeepStrictEqual(seen, wanted)) return undefined;
    const lines = places.map(
      ({ name }, index) =>
        `${name}, ${index < open.length ? "open" : "closed"}: ${seen[index]?.map((yes) => (yes ? "answer" : "none")).join(" ")}`,
    );
    return `from ${lines.join("; ")}; of ${urls.join(" ")}`;
  };
  return until(asked, { what, withinMs: judgedWithinMs, everyMs: askedEveryMs, mayFail: true });
}

/** The pod of that name among `pods`. */
export function named(pods: readonly SeenPod[], name: string): SeenPod {
  const found = pods.find((one) => one.name === name);
  return present(found, `pod ${name}`);
}

/** Where a pod's server is, in every family of the cluster. */
export function serverUrls({ cluster }: Scene, { addresses, name }: SeenPod): string[] {
  return cluster.options.families.map((family) =>
    url(present(addresses[family], `IPv${family} address of ${name}`), serverPort, "/hostname"),
  );
}

/** The usual server, whose port has a name: what policies call it by. */
export const serverPortName = "web";
export const withNamedPort: Pick<PodOptions, "container"> = {
  container: { ports: [{ name: serverPortName, containerPort: serverPort }] },
};

/** A NetworkPolicy. */
export function networkPolicy(name: string, spec: Readonly<Record<string, unknown>>): KubeObject {
  return { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name }, spec };
}
