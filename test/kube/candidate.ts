// A candidate in a process of its own, for tests that put it to sleep: prints when it was sure to hold its term.
//
// usage: node test/kube/candidate.ts SERVER NAME LEASE-MS RENEW-MS RETRY-MS

import { createLog } from "../../src/base/log.ts";
import { connect } from "../../src/kube/connect.ts";
import { startElection } from "../../src/kube/lease.ts";
import { pause } from "../../src/base/pause.ts";

const [server = "", who = "", ...numbers] = process.argv.slice(2);
const [leaseMs = 0, renewDeadlineMs = 0, retryMs = 0] = numbers.map(Number);
const stop = new AbortController();
process.once("SIGTERM", () => stop.abort());
const kube = connect({ address: { server }, userAgent: who });

/** CLOCK_MONOTONIC, one for all processes. */
const clockMs = (): number => Number(process.hrtime.bigint() / 1000n) / 1000;

const election = startElection({
  kube,
  lease: { namespace: "kube-system", name: "sleepers" },
  identity: who,
  times: { leaseMs, renewDeadlineMs, retryMs },
  signal: stop.signal,
  log: createLog(who, { level: "silent" }),
  lead: async (term) => {
    while (true) {
      // Wherever between these two lines the process is put to sleep: what it says after waking was true at that time.
      const nowMs = clockMs();
      if (term.aborted) break;
      process.stdout.write(`${nowMs}\n`);
      await pause(2, term);
    }
    process.stdout.write("over\n");
  },
});
await election.done;
await kube.close();
