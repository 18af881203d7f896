// A lab of a bench's own: what a killed run has left goes first, and everything goes at the end, whatever happens.

import { removeLab } from "../lab/down.ts";
import { createLab, type Lab } from "../lab/record.ts";
import { startWarden } from "../lab/warden.ts";

/**
 * Gives what `work` gives in the lab of that name. `atEnd` takes what is to be done before the lab goes, in order, also where the work
 * fails. @throws Fault "lab-failed" where another run of that name is under way
 */
export async function inOwnLab<T>(
  name: string,
  work: (lab: Lab, atEnd: (end: () => Promise<void> | void) => void) => Promise<T>,
): Promise<T> {
  await removeLab(name);
  const lab = createLab({ name });
  const warden = startWarden(lab);
  const ends: (() => Promise<void> | void)[] = [];
  try {
    try {
      return await work(lab, (end) => ends.push(end));
    } finally {
      for (const end of ends) await end();
    }
  } finally {
    lab.close();
    await removeLab(name);
    warden.dismiss();
  }
}
