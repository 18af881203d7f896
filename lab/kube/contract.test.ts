// The lab's API server under the contract that the real one passes as well.

import { after, before } from "node:test";
import { present } from "../../src/base/assert.ts";
import { testKubeApi } from "../../test/kube.contract.ts";
import { type Wire, openWire } from "../../test/kube-wire.ts";
import { type ApiServer, startApiServer } from "./server.ts";

let server: ApiServer | undefined;
let wire: Wire | undefined;

before(async () => {
  server = await startApiServer();
  wire = openWire({ url: server.url });
});

after(async () => {
  await wire?.close();
  await server?.close();
});

testKubeApi(
  "lab",
  () => present(wire, "a connection"),
  (token) => openWire({ url: present(server, "a server").url, token }),
);
