// What each user has asked of the server: requests by what they are, and bytes both ways.

export interface UserUsage {
  user: string;
  requests: number;
  bytesIn: number;
  bytesOut: number;
  /** Requests by "verb plural". */
  byKind: Readonly<Record<string, number>>;
  /** Answers by HTTP status. */
  byCode: Readonly<Record<string, number>>;
}

/** Users that are told apart; the rest is counted as one. */
const usersMax = 10_000;
const others = "(others)";

export interface Usage {
  began(user: string, kind: string, bytesIn: number): void;
  answered(user: string, code: number): void;
  sent(user: string, bytes: number): void;
  /** By user name. */
  read(): UserUsage[];
  reset(): void;
}

interface Counters extends UserUsage {
  byKind: Record<string, number>;
  byCode: Record<string, number>;
}

export function createUsage(): Usage {
  const users = new Map<string, Counters>();
  const of = (name: string): Counters => {
    const user = users.has(name) || users.size < usersMax ? name : others;
    let found = users.get(user);
    if (found === undefined) {
      found = { user, requests: 0, bytesIn: 0, bytesOut: 0, byKind: {}, byCode: {} };
      users.set(user, found);
    }
    return found;
  };
  return {
    began: (user, kind, bytesIn) => {
      const counters = of(user);
      counters.requests += 1;
      counters.bytesIn += bytesIn;
      counters.byKind[kind] = (counters.byKind[kind] ?? 0) + 1;
    },
    answered: (user, code) => {
      const { byCode } = of(user);
      byCode[code] = (byCode[code] ?? 0) + 1;
    },
    sent: (user, bytes) => {
      of(user).bytesOut += bytes;
    },
    read: () => structuredClone([...users.values()].sort((a, b) => (a.user < b.user ? -1 : 1))),
    reset: () => users.clear(),
  };
}
