// A client and its server for one test, gone with it.

import type { TestContext } from "node:test";
import { connect } from "../../src/kube/connect.ts";
import type { Kube } from "../../src/kube/contract.ts";
import type { Limits } from "../../src/kube/limits.ts";
import type { KubeAddress } from "../../src/kube/address.ts";
import { startServer, type TestServer } from "./server.ts";

export interface Pair {
  server: TestServer;
  kube: Kube;
}

/** A server and a client of it, with limits and address as a test wants them. */
export async function startPair(
  t: TestContext,
  { limits = {}, address = {} }: { limits?: Partial<Limits>; address?: Partial<KubeAddress> } = {},
): Promise<Pair> {
  const server = await startServer();
  const kube = connect({ address: { server: server.url, ...address }, userAgent: "fairlead-test/1", limits });
  t.after(async () => {
    await kube.close();
    await server.stop();
  });
  return { server, kube };
}
