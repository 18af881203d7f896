// Asking `fairlead why` about many flows at once, as an administrator on the machine of the control plane.

import { z } from "zod";
import { Fault } from "../src/base/fault.ts";
import { exec, execOk, failureText } from "./exec.ts";
import type { Expected, Flow } from "./flows.ts";
import { readJson } from "./json.ts";

const answersWithinMs = 30_000;
/** Questions of one call: what it prints stays within what the lab reads of a program. */
const questionsMax = 1_000;

const answerSchema = z.object({
  from: z.string(),
  to: z.string(),
  protocol: z.string(),
  passes: z.boolean(),
  judgements: z.array(
    z.object({
      judgement: z.enum(["egress NetworkPolicy", "egress groups", "ingress NetworkPolicy", "ingress groups"]),
      passes: z.boolean(),
      object: z.string().optional(),
      rule: z.string().optional(),
    }),
  ),
});
type Answer = z.output<typeof answerSchema>;

export interface WhyOptions {
  env: Readonly<Record<string, string>>;
  /** The `fairlead` that is asked. */
  program: string;
  kubeconfig: string;
  netns: string;
}

/** What the program says of each flow, in their order. @throws Fault "lab-failed" where it does not answer each of them */
export async function askWhy(flows: readonly Flow[], options: WhyOptions): Promise<Expected[]> {
  const answers: Expected[] = [];
  for (let first = 0; first < flows.length; first += questionsMax)
    answers.push(...(await askSome(flows.slice(first, first + questionsMax), options)));
  return answers;
}

async function askSome(flows: readonly Flow[], options: WhyOptions): Promise<Expected[]> {
  const { env, program, kubeconfig, netns } = options;
  const output = await execOk(program, ["why", "--questions", "-", "--json", "--kubeconfig", kubeconfig], {
    env,
    netns,
    input: flows.map((flow) => `${questionOf(flow)}\n`).join(""),
    timeoutMs: answersWithinMs,
  });
  const lines = output.trimEnd().split("\n");
  if (lines.length !== flows.length)
    throw new Fault("lab-failed", `fairlead why gave ${lines.length} answers to ${flows.length} questions`);
  return flows.map((flow, index) => {
    const answer = readJson(answerSchema, lines[index] ?? "", `answer ${index + 1} of fairlead why`);
    if (answer.protocol !== flow.proto && !(flow.proto === "icmp" && answer.protocol === "icmpv6"))
      throw new Fault("lab-failed", `fairlead why was asked ${questionOf(flow)} and answered for ${answer.protocol}`);
    return { passes: answer.passes, because: answer.passes ? "" : reasonOf(answer) };
  });
}

export interface Explanation {
  /** As a person would type it. */
  command: string;
  text: string;
}

/** What the program tells people about one question (FROM TO TRAFFIC). @throws Fault "lab-failed" where it does not answer */
export async function explainWhy(
  question: readonly string[],
  { env, program, kubeconfig, netns }: WhyOptions,
): Promise<Explanation> {
  const outcome = await exec(program, ["why", ...question, "--kubeconfig", kubeconfig], {
    env,
    netns,
    timeoutMs: answersWithinMs,
  });
  const command = ["fairlead why", ...question].join(" ");
  // 1 is the answer "it does not pass"; a question that cannot be answered says so on stderr.
  if (outcome.stderr !== "" || outcome.code === undefined || outcome.code > 1)
    throw new Fault("lab-failed", `${command}: ${failureText(outcome)}`);
  return { command, text: outcome.stdout.trimEnd() };
}

/** By addresses: a name would stand for both families. */
function questionOf({ fromAddress, toAddress, proto, port }: Flow): string {
  return `${fromAddress} ${toAddress} ${proto === "icmp" ? "icmp" : `${port}/${proto}`}`;
}

function reasonOf({ judgements }: Answer): string {
  const denied = judgements.filter(({ passes }) => !passes);
  return denied.map(({ judgement, object }) => `${judgement}${object === undefined ? "" : `: ${object}`}`).join("; ");
}
