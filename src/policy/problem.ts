// What is wrong with an object that somebody wrote: it never opens anything, and it is told.

/** One thing that cannot be as it is written. The part that it is about allows nothing; the rest of the object counts. */
export interface Problem {
  /** "NetworkPolicy shop/web". */
  object: string;
  /** "spec.ingress[0].ports[1].endPort". */
  path: string;
  /** What is wrong, what comes of it and what to write, in one sentence or two. */
  message: string;
}

/** Takes what is wrong with the object that is being read. */
export type Report = (path: string, message: string) => void;

/** What the API server takes for a name, and a little more; nothing that separates names. */
const plainName = /^[A-Za-z0-9](?:[A-Za-z0-9._:-]*[A-Za-z0-9])?$/;

/**
 * Kind, and name with its namespace: how people name an object, and how layers and problems do. What is no name, which the free text of
 * a SecurityGroupPolicy can be, is quoted: no list of titles reads as another one.
 */
export function objectTitle(kind: string, { namespace, name }: { namespace?: string; name: string }): string {
  return namespace === undefined ? `${kind} ${nameText(name)}` : `${kind} ${nameText(namespace)}/${nameText(name)}`;
}

const nameText = (name: string): string => (plainName.test(name) ? name : JSON.stringify(name));

/** Collects what is wrong with one object into `problems`. */
export function reporter(object: string, problems: Problem[]): Report {
  return (path, message) => problems.push({ object, path, message });
}
