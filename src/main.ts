// The fairlead program: its words, each loading only what it needs.

import { readFileSync } from "node:fs";
import { Command, InvalidArgumentError, Option } from "commander";
import { describe, isFault } from "./base/fault.ts";

const { version }: { version: string } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));

/** Where an agent with the default configuration answers. */
const statusSocketDefault = "/run/fairlead/status.sock";

const print = (text: string): void => void process.stdout.write(`${text}\n`);

const program = new Command("fairlead")
  .description("A Kubernetes network plugin that puts security groups on pods")
  .version(version)
  .showHelpAfterError("(fairlead --help shows what there is)");

program
  .command("agent")
  .description("serve the pods of this node until SIGTERM; pods keep running then")
  .requiredOption("--config <file>", "configuration, YAML (docs/agent.md)")
  .action(async ({ config }: { config: string }) => {
    const { runAgent } = await import("./agent/main.ts");
    await runAgent({ configFile: config, version });
  });

const output = (): Option =>
  new Option("-o, --output <form>", "table for people, json for programs").choices(["table", "json"]).default("table");
const socket = (): Option => new Option("--socket <path>", "the agent's read-only socket").default(statusSocketDefault);

interface ReadOptions {
  socket: string;
  output: "table" | "json";
}

program
  .command("status")
  .description("what the agent of this node serves and how its loops do")
  .addOption(socket())
  .addOption(output())
  .action(async (options: ReadOptions) => {
    const { showStatus } = await import("./cli/status.ts");
    print(await showStatus(options));
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

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof InvalidArgumentError) throw error;
  process.stderr.write(`fairlead: ${describe(error)}\n`);
  // What is no Fault is a bug of ours: its stack helps to mend it.
  if (!isFault(error) && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  process.exitCode = 1;
}
