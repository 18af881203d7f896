// A real Kubernetes cluster on this computer, by hand: made, looked into and removed by these words.
//
// usage: node test/cluster/main.ts up [--network=ptp|fairlead|none] [--proxy=nftables|iptables] [--nodes=2] [--families=4,6] [--cidrs=yes|no]
//        node test/cluster/main.ts up --nodes=0             an API server and nothing else
//        node test/cluster/main.ts kubectl -- ARGUMENT...   kubectl as administrator
//        node test/cluster/main.ts exec MACHINE -- COMMAND  on a node, or in the network of "control", "outside"
//        node test/cluster/main.ts down
// All of them take --name=NAME for a cluster beside the usual one.

import { spawn } from "node:child_process";
import { constants } from "node:os";
import { parseArgs } from "node:util";
import { describe, Fault } from "../../src/base/fault.ts";
import { labDown } from "../../lab/commands.ts";
import { removeLab } from "../../lab/down.ts";
import type { Family } from "../../lab/layout.ts";
import { makeMachines } from "../../lab/machines.ts";
import { createLab, labDirectory, labEnvironment } from "../../lab/record.ts";
import { recordOf } from "../../lab/status.ts";
import { startWarden } from "../../lab/warden.ts";
import { type Network, startKubernetes } from "./cluster.ts";
import { startControlPlane } from "./control-plane.ts";
import { inMachine } from "./node.ts";
import type { ProxyMode } from "./node-config.ts";
import { planKubernetes } from "./plan.ts";
import { buildUpstream, upstreamPath } from "./upstream.ts";

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    name: { type: "string", default: "kube" },
    network: { type: "string", default: "ptp" },
    proxy: { type: "string", default: "nftables" },
    nodes: { type: "string", default: "2" },
    families: { type: "string", default: "4,6" },
    cidrs: { type: "string", default: "yes" },
  },
});

const usage = "say up, down, kubectl -- ARGUMENT... or exec MACHINE -- COMMAND...";

/** One of `words`. @throws Fault "lab-failed" naming the option */
function oneOf<T extends string>(option: string, word: string, words: readonly T[]): T {
  const found = words.find((known) => known === word);
  if (found === undefined) throw new Fault("lab-failed", `--${option}=${word}: it is one of ${words.join(", ")}`);
  return found;
}

async function up(): Promise<number> {
  const missing = values.nodes === "0" ? buildUpstream("kubernetes") : buildUpstream();
  if (missing !== undefined) throw new Fault("lab-failed", missing);
  const families = { "4": [4], "6": [6], "4,6": [4, 6], "6,4": [6, 4] } as const satisfies Record<string, Family[]>;
  const options = {
    nodes: Number(values.nodes),
    families: families[oneOf("families", values.families, ["4", "6", "4,6", "6,4"])],
    network: oneOf<Network>("network", values.network, ["ptp", "fairlead", "none"]),
    proxyMode: oneOf<ProxyMode>("proxy", values.proxy, ["nftables", "iptables"]),
    allocateNodeCidrs: oneOf("cidrs", values.cidrs, ["yes", "no"]) === "yes",
    onStep: (step: string) => print(`${(performance.now() / 1000).toFixed(1).padStart(5)} s  ${step}`),
  };
  const lab = createLab({ name: values.name });
  const warden = startWarden(lab);
  try {
    if (options.nodes === 0) {
      const plan = planKubernetes({ lab: lab.name, ...options });
      await makeMachines(lab, plan.layout);
      await startControlPlane(lab, plan, { controllers: true, allocateNodeCidrs: false });
    } else await startKubernetes(lab, options);
  } catch (error) {
    await removeLab(lab.name);
    throw error;
  } finally {
    warden.dismiss();
  }
  lab.close();
  print(
    `KUBECONFIG=${kubeconfig()}   (its server is reached from the cluster's namespaces: ip netns exec flab-${lab.name}-control ...)`,
  );
  return 0;
}

function kubeconfig(): string {
  return `${labDirectory(values.name)}/control/pki/admin.kubeconfig`;
}

/** Runs a program with this terminal; gives its exit code. */
function attended([program, args]: [string, string[]]): Promise<number> {
  const { token } = recordOf(values.name);
  const child = spawn(program, args, { stdio: "inherit", env: labEnvironment(token) });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])));
  });
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function main([word, ...rest]: readonly string[]): Promise<number> {
  switch (word) {
    case "up":
      return up();
    case "down":
      return labDown({ name: values.name }, print);
    case "kubectl": {
      const args = [
        `--kubeconfig=${kubeconfig()}`,
        `--cache-dir=${labDirectory(values.name)}/control/kubectl`,
        ...rest,
      ];
      return attended(inMachine(values.name, "control", `${upstreamPath}/kubectl`, args));
    }
    case "exec": {
      const [machine = "", program = "sh", ...args] = rest;
      return attended(inMachine(values.name, machine, program, args));
    }
    case undefined:
    default:
      throw new Fault("lab-failed", usage);
  }
}

try {
  process.exitCode = await main(positionals);
} catch (error) {
  process.stderr.write(`${describe(error)}\n`);
  process.exitCode = 1;
}
