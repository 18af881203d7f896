// The contract of API servers on the real one: what passes here is what the lab's has to do.

import { after, before, describe, test } from "node:test";
import { present } from "../../src/base/assert.ts";
import { testKubeApi } from "../kube.contract.ts";
import { type Wire, openWire } from "../kube-wire.ts";
import { type ControlPlaneAlone, startControlPlaneAlone } from "./control-plane.ts";
import { buildUpstream } from "./upstream.ts";

const title = "the real API server under the contract";
const reason = buildUpstream("kubernetes");

if (reason === undefined) void describe(title, suite);
else void test(title, { skip: reason }, () => {});

function suite(): void {
  let plane: ControlPlaneAlone | undefined;
  let wire: Wire | undefined;
  before(async () => {
    plane = await startControlPlaneAlone({ name: `kubecontract${process.pid}` });
    const { socket, credentials } = plane;
    wire = openWire({ url: "https://localhost", socketPath: socket, tls: credentials });
  });
  after(async () => {
    await wire?.close();
    await plane?.close();
  });
  const as = (token: string): Wire => {
    const { socket, credentials } = present(plane, "a control plane");
    return openWire({ url: "https://localhost", socketPath: socket, tls: { ca: credentials.ca }, token });
  };
  testKubeApi("real", () => present(wire, "a connection"), as);
}
