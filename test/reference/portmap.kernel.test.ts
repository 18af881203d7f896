// Behind ours, portmap: a port of the node leads to the pod from everywhere, over both families, by either of its backends.

import assert from "node:assert/strict";
import { test } from "node:test";
import { needsReference } from "./programs.ts";
import { nodeAddresses, outsideAddresses, podPort, startStage, type Stage } from "./stage.ts";

const backends = ["nftables", "iptables"] as const;

const mapping = (protocol: string, hostPort: number) => ({ protocol, hostPort, containerPort: podPort });
const capabilities = { portMappings: [mapping("tcp", 8080), mapping("udp", 8053)] };

function configure({ runtime }: Stage, backend: string): void {
  runtime.configure("mapped", [
    { type: "fairlead-cni" },
    { type: "portmap", backend, capabilities: { portMappings: true } },
  ]);
}

for (const backend of backends) {
  test(
    `${backend}: a port of the node is the pod's, for callers anywhere, and after DEL the next one's`,
    needsReference,
    async (t) => {
      const stage = await startStage(t);
      const { agent, runtime, outside, probe } = stage;
      configure(stage, backend);
      const [pod, other] = [stage.pod(), stage.pod()];
      await runtime.add("mapped", pod, { capabilities });
      await runtime.add("mapped", other);
      await stage.serve(pod, "mapped pod");

      for (const family of [4, 6] as const) {
        const to = nodeAddresses[family];
        const fromOutside = await probe(outside, to, { port: 8080 });
        // The pod sees who called: nothing on the way in is masqueraded.
        assert.deepEqual([fromOutside.name, fromOutside.seenFrom], ["mapped pod", outsideAddresses[family]]);
        for (const [who, from] of [
          ["node", agent.node],
          ["another pod", other],
          ["the pod itself", pod],
        ] as const) {
          const { name, error } = await probe(from, to, { port: 8080 });
          assert.equal(name, "mapped pod", `from ${who} over IPv${family}: ${error}`);
        }
        const byUdp = await probe(outside, to, { proto: "udp", port: 8053 });
        assert.equal(byUdp.name, "mapped pod", `by UDP over IPv${family}: ${byUdp.error}`);
      }
      // Only IPv4 lets a loopback address be routed.
      const atLocalhost = await probe(agent.node, "127.0.0.1", { port: 8080 });
      assert.equal(atLocalhost.name, "mapped pod", `at 127.0.0.1: ${atLocalhost.error}`);

      // What DEL leaves would still lead the next pod's callers to the address of this one.
      await runtime.ok("del", "mapped", pod, { capabilities });
      const heir = stage.pod();
      await runtime.add("mapped", heir, { capabilities });
      await stage.serve(heir, "heir");
      for (const family of [4, 6] as const) {
        const { name, error } = await probe(outside, nodeAddresses[family], { port: 8080 });
        assert.equal(name, "heir", `IPv${family}: ${error}`);
      }
      await runtime.ok("del", "mapped", heir, { capabilities });
      await runtime.ok("del", "mapped", other);
    },
  );
}
