// Reading what need not be there: a kind that the server may not know, an object that may be gone.

import { isFault } from "../base/fault.ts";
import type { Listing } from "./contract.ts";

/** The objects of a list; none of a kind that the server does not know. Other faults are passed on. */
export async function ifKnown<T>(listing: Promise<Listing<T>>): Promise<readonly T[]> {
  return (await ifThere(listing))?.items ?? [];
}

/** The object that is asked for; undefined where there is none. Other faults are passed on. */
export async function ifThere<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (isFault(error, "kube-not-found")) return undefined;
    throw error;
  }
}
