// A kernel that fails on demand: counts every call that changes something, and lets the n-th fail before or after its work.

import { Fault } from "../src/base/fault.ts";
import type { Kernel, Netns } from "../src/kernel/contract.ts";

export interface FailurePlan {
  /** Which call fails, counted from 1; none while undefined. */
  at: number | undefined;
  /** "before": nothing was done. "after": all was done, but the caller hears that it failed. */
  when: "before" | "after";
  /** Calls seen since the plan was set. */
  seen: number;
}

/** Gives `kernel` with failures, and the plan that steers them. `strike`: what happens first where a call is to fail. */
export function failingKernel(kernel: Kernel, strike: () => void = () => {}): { kernel: Kernel; plan: FailurePlan } {
  const plan: FailurePlan = { at: undefined, when: "before", seen: 0 };
  const call = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    plan.seen += 1;
    const fails = plan.at === plan.seen;
    const fault = new Fault("kernel-refused", `planned failure of call ${plan.seen}, ${name}`);
    const fail = (): never => {
      strike();
      throw fault;
    };
    if (fails && plan.when === "before") fail();
    const answer = await work();
    return fails ? fail() : answer;
  };
  const wrapNetns = (netns: Netns): Netns => ({
    ...netns,
    id: netns.id,
    apply: (ops) => call(`apply ${ops[0]?.op}`, () => netns.apply(ops)),
    writeSysctls: (values) => call("writeSysctls", () => netns.writeSysctls(values)),
    link: (ref) => call("link", () => netns.link(ref)),
    carries: (ref) => call("carries", () => netns.carries(ref)),
  });
  const { guard } = kernel;
  return {
    plan,
    kernel: {
      ...kernel,
      node: wrapNetns(kernel.node),
      openNetns: (path) => {
        const netns = kernel.openNetns(path);
        // An operation that names another namespace needs the real one.
        return Object.assign(netns, {
          apply: wrapNetns({ ...netns }).apply,
          writeSysctls: wrapNetns({ ...netns }).writeSysctls,
          link: wrapNetns({ ...netns }).link,
          carries: wrapNetns({ ...netns }).carries,
        });
      },
      guard: {
        ...guard,
        admit: (entries) => call("guard.admit", () => guard.admit(entries)),
        withdraw: (entries) => call("guard.withdraw", () => guard.withdraw(entries)),
      },
    },
  };
}
