// The fairlead program: its words, each loading only what it needs.

import { readFileSync } from "node:fs";
import { Command, InvalidArgumentError, Option } from "commander";
import { describe, isFault } from "./base/fault.ts";
import { visible } from "./base/visible.ts";
import type { OpenCluster } from "./cli/cluster/open.ts";
import type { ClusterFlags } from "./cli/cluster/kubeconfig-file.ts";

const { version }: { version: string } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));

/** Where an agent with the default configuration answers. */
const statusSocketDefault = "/run/fairlead/status.sock";

const print = (text: string): void => void process.stdout.write(`${text}\n`);

/** For what others have said too, as an agent of another node: a terminal must not take any of it for an order. */
const warn = (text: string): void =>
  void process.stderr.write(`fairlead: ${text.split("\n").map(visible).join("\n")}\n`);

/** Of what is thrown. For `why` 1 is an answer, "it does not pass", so a question without one has a code of its own. */
let failureCode = 1;
const unansweredCode = 2;

const program = new Command("fairlead")
  .description("A Kubernetes network plugin that puts security groups on pods")
  .version(version)
  .showHelpAfterError("(fairlead --help shows what there is)");

program
  .command("agent")
  .description("serve the pods of this node until SIGTERM; pods keep running then")
  .requiredOption("--config <file>", "configuration, YAML (docs/agent.md)")
  .option("--node-name <name>", "this node's name, where the configuration does not say it")
  .action(async ({ config, nodeName }: { config: string; nodeName?: string }) => {
    const { runAgent } = await import("./agent/main.ts");
    await runAgent({ configFile: config, version, ...(nodeName === undefined ? {} : { nodeName }) });
  });

program
  .command("controller")
  .description("serve a Kubernetes cluster: give nodes their blocks, until SIGTERM; several may run, one of them leads")
  .requiredOption("--config <file>", "configuration, YAML (docs/controller.md)")
  .action(async ({ config }: { config: string }) => {
    const { runController } = await import("./controller/main.ts");
    await runController({ configFile: config, version });
  });

program
  .command("uninstall")
  .description("take everything of Fairlead off this node; refused while its agent runs or pods are attached (root)")
  .requiredOption("--config <file>", "the agent's configuration")
  .option("--node-name <name>", "this node's name, where the configuration does not say it")
  .option("--force", "also while pods are attached: they lose their network")
  .action(async ({ config, nodeName, force = false }: { config: string; nodeName?: string; force?: boolean }) => {
    const { runUninstall } = await import("./agent/main.ts");
    const removed = await runUninstall({
      configFile: config,
      version,
      force,
      ...(nodeName === undefined ? {} : { nodeName }),
    });
    print(removed.length === 0 ? "nothing of Fairlead is on this node" : `removed: ${removed.join(", ")}`);
  });

const output = (): Option =>
  new Option("-o, --output <form>", "table for people, json for programs").choices(["table", "json"]).default("table");
const socket = (): Option => new Option("--socket <path>", "the agent's read-only socket").default(statusSocketDefault);

interface ReadOptions {
  socket: string;
  output: "table" | "json";
}

interface ClusterOptions extends ClusterFlags {
  output: "table" | "json";
}

/** What every word about the cluster takes. */
const inCluster = (command: Command): Command =>
  command
    .option("--kubeconfig <file>", "the cluster's kubeconfig; else KUBECONFIG, else ~/.kube/config")
    .option("--context <name>", "one of its contexts; else its current one")
    .addOption(output());

/** Runs a word about the cluster, and ends the connections whatever came of it. */
async function withCluster(flags: ClusterFlags, work: (cluster: OpenCluster) => Promise<void>): Promise<void> {
  const { openCluster } = await import("./cli/cluster/open.ts");
  const cluster = await openCluster(flags, version);
  try {
    await work(cluster);
  } finally {
    await cluster.kube.close();
  }
}

inCluster(program.command("status"))
  .description(
    "the whole cluster where a kubeconfig is at hand, exit code 1 where something is bad; else the agent of this node",
  )
  .option("--cluster", "the cluster, and nothing else")
  .option("--lease <name>", "the controller's Lease, where its configuration names another", "fairlead-controller")
  .option("--node", "the agent of this node, and nothing else")
  .option("--socket <path>", `the same, at another socket than ${statusSocketDefault}`)
  .action(async (options: ClusterOptions & { lease: string; cluster?: boolean; node?: boolean; socket?: string }) => {
    const { chooseSubject, wordOnOther } = await import("./cli/subject.ts");
    const subject = chooseSubject(options);
    const other = wordOnOther(options, subject, statusSocketDefault);
    if (subject === "node") {
      const { showStatus } = await import("./cli/status.ts");
      return print(await showStatus({ socket: options.socket ?? statusSocketDefault, output: options.output, other }));
    }
    const { showClusterStatus } = await import("./cli/cluster-status.ts");
    return withCluster(options, async (cluster) => {
      const { text, well } = await showClusterStatus(cluster, { output: options.output, leaseName: options.lease });
      print(other === undefined || options.output === "json" ? text : `${text}\n\n${other}`);
      if (!well) process.exitCode = 1;
    });
  });

inCluster(program.command("nodes"))
  .description("every node of the cluster: addresses, blocks, pods, and what is wrong with it")
  .action(async (options: ClusterOptions) => {
    const { showNodes } = await import("./cli/nodes.ts");
    await withCluster(options, async (cluster) => print(await showNodes(cluster, { output: options.output })));
  });

inCluster(program.command("route <from> <to>"))
  .description(
    "every hop between two pods, nodes or addresses, and the object behind each; exit code 1 where there is no way",
  )
  .option("-n, --namespace <name>", "where pods are looked for that are named without their namespace; else everywhere")
  .addOption(socket())
  .action(async (from: string, to: string, options: ClusterOptions & { namespace?: string; socket: string }) => {
    const { showRoute } = await import("./cli/route.ts");
    await withCluster(options, async (cluster) => {
      const { text, well } = await showRoute(cluster, { ...options, from, to });
      print(text);
      if (!well) process.exitCode = 1;
    });
  });

interface WhyFlags extends ClusterOptions {
  namespace?: string;
  questions?: string;
  fromFiles: string[];
  expect?: "allow" | "deny";
  groupsJudgeOwnNode?: boolean;
  agentConfig?: string;
  json?: boolean;
}

inCluster(program.command("why [from] [to] [traffic]"))
  .description(
    "whether traffic passes between two pods, nodes or addresses, which object decides, and what would have to change; " +
      "traffic is PORT, PORT/tcp|udp|sctp, a port's name, or icmp; exit code 1 where it does not pass, " +
      "2 where that could not be answered",
  )
  .option("-n, --namespace <name>", "where pods are looked for that are named without their namespace; else everywhere")
  .option("--questions <file>", 'lines "FROM TO PORT/PROTOCOL [allow|deny]" in place of the arguments; - is stdin')
  .option(
    "--from-files <path>",
    "YAML files or directories in place of a cluster; may be given several times",
    (path: string, before: string[]) => [...before, path],
    [],
  )
  .addOption(
    new Option(
      "--expect <answer>",
      "exit code 1 where any answer is another, or where not all counts that files say",
    ).choices(["allow", "deny"]),
  )
  .option("--groups-judge-own-node", "as in the agents' configuration: groups judge what pods send to their own node")
  .option("--agent-config <file>", "the agents' configuration, whose keys of policy count; else the one in the cluster")
  .option("--json", "the same as -o json: one object a line, for each family")
  // What cannot be read is no answer, and 1 is one.
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : unansweredCode))
  .action(async (from: string | undefined, to: string | undefined, traffic: string | undefined, flags: WhyFlags) => {
    failureCode = unansweredCode;
    const { showWhy } = await import("./cli/why.ts");
    const { openCluster } = await import("./cli/cluster/open.ts");
    const { fromFiles, json = false, output, ...rest } = flags;
    const { text, told, exitCode } = await showWhy(() => openCluster(flags, version), {
      ...rest,
      ...(from === undefined ? {} : { from }),
      ...(to === undefined ? {} : { to }),
      ...(traffic === undefined ? {} : { traffic }),
      files: fromFiles,
      output: json ? "json" : output,
    });
    if (text !== "") print(text);
    told.forEach(warn);
    process.exitCode = exitCode;
  });

inCluster(program.command("groups [name]"))
  .description(
    "security groups: members, rules and how often they were used, where they are enforced, and what they denied; " +
      "counted by the agents of all nodes with members",
  )
  .option(
    "--socket <path>",
    "an agent's read-only socket, to ask no other agents; may be given several times",
    (path: string, before: string[]) => [...before, path],
    [],
  )
  .action(async (name: string | undefined, options: ClusterOptions & { socket: string[] }) => {
    const { showGroups } = await import("./cli/groups.ts");
    const own = { sockets: options.socket, ownSocket: statusSocketDefault };
    const wanted = { output: options.output, ...own, ...(name === undefined ? {} : { name }) };
    await withCluster(options, async (cluster) => print(await showGroups(cluster, wanted)));
  });

program
  .command("pods")
  .description("the attachments of this node: pod, addresses, host link")
  .addOption(socket())
  .addOption(output())
  .action(async (options: ReadOptions) => {
    const { showPods } = await import("./cli/pods.ts");
    print(await showPods(options));
  });

program
  .command("check")
  .description("examine this node: one line a finding, each bad one with its cure; exit code 1 where something is bad")
  .addOption(socket())
  .addOption(output())
  .action(async (options: ReadOptions) => {
    const { checkNode } = await import("./cli/check.ts");
    const { text, well } = await checkNode(options);
    print(text);
    if (!well) process.exitCode = 1;
  });

interface FlowsFlags extends ClusterOptions {
  cluster?: boolean;
  socket?: string;
  denied?: boolean;
  pod?: string;
  node?: string;
  follow?: boolean;
}

inCluster(program.command("flows"))
  .description(
    "what policy denies, packet by packet: both ends, which object decided, and why; on all nodes of the cluster where a " +
      "kubeconfig is at hand (by exec into the agents' pods), else on this node",
  )
  .option(
    "--denied",
    "only what no rule allows (denied, or on probation); else, with -f, also connections that begin and end",
  )
  .option("--pod <namespace/name>", "only flows of this pod")
  .option("--node <name>", "only what the agent of this node tells; an error where another node's is asked")
  .option("-f, --follow", "go on until interrupted")
  .option("--cluster", "the cluster, and nothing else")
  .option("--socket <path>", `the agent that has this socket, and no other; on a node it is ${statusSocketDefault}`)
  .action(async ({ denied = false, follow = false, socket: path, ...flags }: FlowsFlags) => {
    const [{ chooseSubject }, { showFlows }] = await Promise.all([
      import("./cli/subject.ts"),
      import("./cli/flows.ts"),
    ]);
    const stop = new AbortController();
    if (follow) for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => stop.abort());
    const { node: _node, ...subjectFlags } = flags;
    const wanted = { ...flags, denied, follow, signal: stop.signal, print, warn };
    if (chooseSubject({ ...subjectFlags, ...(path === undefined ? {} : { socket: path }) }) === "node") {
      const { socketDoor } = await import("./cli/agents/door.ts");
      await showFlows({ ...wanted, doors: [socketDoor(path ?? statusSocketDefault)] });
      return;
    }
    const { doorsOfCluster, lookEveryMs } = await import("./cli/cluster/agent-doors.ts");
    await withCluster(flags, async (cluster) => {
      const doors = await doorsOfCluster(cluster, flags.node);
      const later = { everyMs: lookEveryMs, doors: () => doorsOfCluster(cluster, undefined) };
      try {
        const mayJoin = follow && flags.node === undefined;
        if (!(await showFlows({ ...wanted, doors, ...(mayJoin ? { later } : {}) }))) process.exitCode = 1;
      } finally {
        for (const door of doors) door.close();
      }
    });
    // Whoever interrupts does not wait for nodes that do not answer.
    if (stop.signal.aborted) process.exit();
  });

program
  .command("ask", { hidden: true })
  .description("answer questions to the agent: a path a line on stdin, its answer a line on stdout")
  .addOption(socket())
  .action(async ({ socket: path }: { socket: string }) => {
    const [{ socketDoor }, { answerQuestions }] = await Promise.all([
      import("./cli/agents/door.ts"),
      import("./cli/agents/ask.ts"),
    ]);
    await answerQuestions(socketDoor(path), { input: process.stdin, print });
  });

const lab = program
  .command("lab")
  .description("machines as network namespaces, with real agents: try Fairlead on one computer (root)");

const wholeNumber = (text: string): number => {
  if (!/^[1-9][0-9]{0,2}$/.test(text)) throw new InvalidArgumentError("a whole number from 1 to 999");
  return Number(text);
};

lab
  .command("up [name]")
  .description("make a lab that stays up: nodes with agents, and some pods")
  .option("--nodes <n>", "machines", wholeNumber, 2)
  .option("--pods <n>", "pods on each node", wholeNumber, 1)
  .addOption(new Option("--family <family>", "address families").choices(["dual", "v4", "v6"]).default("dual"))
  .action(async (name: string | undefined, options: { nodes: number; pods: number; family: "dual" | "v4" | "v6" }) => {
    const { labUp } = await import("../lab/commands.ts");
    process.exitCode = await labUp({ ...(name === undefined ? {} : { name }), ...options }, print);
  });

lab
  .command("exec <place> <command...>")
  .description("run a command in the network of a node or pod; write -- before options of the command")
  .option("--lab <name>", "which lab, where there are several")
  .action(async (place: string, command: string[], { lab: name }: { lab?: string }) => {
    const { labExec } = await import("../lab/commands.ts");
    process.exitCode = await labExec({ ...(name === undefined ? {} : { name }), place, command });
  });

lab
  .command("status [name]")
  .description("what is in a lab, or in all of them")
  .action(async (name?: string) => {
    const { labStatus } = await import("../lab/commands.ts");
    process.exitCode = labStatus(name === undefined ? {} : { name }, print);
  });

lab
  .command("down [name]")
  .description("remove exactly what `up` made, also after a crash")
  .action(async (name?: string) => {
    const { labDown } = await import("../lab/commands.ts");
    process.exitCode = await labDown(name === undefined ? {} : { name }, print);
  });

lab
  .command("run [files...]")
  .description("run scenarios, each in a lab of its own; all of them without files")
  .option("--keep", "leave the lab up where a scenario fails, and stop there")
  .action(async (files: string[], { keep = false }: { keep?: boolean }) => {
    const { labRun } = await import("../lab/commands.ts");
    process.exitCode = await labRun({ files, keep }, print);
  });

lab
  .command("demo")
  .description("show that the Kubernetes network model holds, in a few seconds")
  .action(async () => {
    const { labDemo } = await import("../lab/commands.ts");
    process.exitCode = await labDemo(print);
  });

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof InvalidArgumentError) throw error;
  warn(describe(error));
  // What is no Fault is a bug of ours: its stack helps to mend it.
  if (!isFault(error) && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  process.exitCode = failureCode;
}
