// What the next pass of policy has to do.

/** Whether a pass looks at the kernel, whatever was told of it, and whether the passes before have done all that they were to do. */
export interface Look {
  isDue: boolean;
  isSettled: boolean;
}

export interface Due {
  /** What the cluster says has changed, or which pods are attached. */
  changed: (what: "cluster" | "attachments") => void;
  /** The kernel is to be looked at. */
  doubt: () => void;
  /** Connections may stand that should not. */
  cut: () => void;
  /** Nothing that was done before can be relied on. */
  everything: () => void;
  /** The cluster has said something that no pass has taken in. */
  isStale: () => boolean;
  /** What the pass that begins now has to do; what comes from now on is for the next one. */
  begin: () => Look;
  /** Whether connections are to be looked for, now that the kernel judges anew. */
  takeCut: () => boolean;
  /** In how many ms the kernel is to be looked at, where nothing else comes until then. */
  lookMs: () => number;
}

/** The kernel is looked at that often by passes that are for nothing else: it takes a while, and an edit waits for no look. */
const lookEveryMs = 30_000;
/** Where something is always to be done, it is looked at all the same. */
const lookLatestMs = 60_000;
/** A look waits for so long a time without anything to do. */
const quietMs = 1_000;

/** Everything is due at first; `clock` in milliseconds, never going back. */
export function createDue(clock: () => number): Due {
  let lookedMs = -Infinity;
  const due = { stale: true, asked: true, look: true, cut: true, unsettled: true };
  return {
    changed: (what) => {
      due.stale ||= what === "cluster";
      due.asked = true;
    },
    doubt: () => {
      due.look = true;
    },
    cut: () => {
      due.cut = true;
      due.asked = true;
    },
    everything: () => Object.assign(due, { stale: true, asked: true, look: true, cut: true, unsettled: true }),
    isStale: () => due.stale,
    begin: () => {
      const isOld = clock() - lookedMs >= (due.asked ? lookLatestMs : lookEveryMs);
      const look = { isDue: due.look || isOld, isSettled: !due.unsettled };
      if (look.isDue) lookedMs = clock();
      Object.assign(due, { stale: false, asked: false, look: false, unsettled: false });
      return look;
    },
    takeCut: () => {
      const { cut } = due;
      due.cut = false;
      return cut;
    },
    lookMs: () => Math.max(quietMs, lookedMs + lookEveryMs - clock()),
  };
}
