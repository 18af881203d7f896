// `fairlead why FROM TO [PORT]`: whether traffic passes, which object decides in each judgement, and what would have to change.

import { readFileSync } from "node:fs";
import { Fault } from "../base/fault.ts";
import { quote } from "../cni/quote.ts";
import { defaultKeys, type PolicyKeys } from "../policy/keys.ts";
import type { ClusterOutcome } from "./cluster-status.ts";
import type { OpenCluster } from "./cluster/open.ts";
import { placeNamed } from "./route/name.ts";
import type { Place } from "./route/place.ts";
import { readServices, refuseService, type ServiceNames } from "./route/services.ts";
import { type Answers, createAnswers, type WhyAnswer } from "./why/answer.ts";
import { readFromFiles } from "./why/from-files.ts";
import { keysInFile, keysOfCluster } from "./why/keys.ts";
import { type Deciding, readDeciding } from "./why/objects.ts";
import { answersText, problemsText } from "./why/report.ts";
import { readTraffic, type Traffic } from "./why/traffic.ts";

/** Lines of a file of questions. */
const questionsMax = 100_000;

export interface WhyOptions {
  from?: string;
  to?: string;
  /** PORT, PORT/PROTOCOL, a port's name, icmp; absent: the target's named ports, and icmp. */
  traffic?: string;
  /** A file of questions, "-" for stdin: FROM TO TRAFFIC [allow|deny], one a line. */
  questions?: string;
  /** YAML files and directories in place of a cluster; none: the cluster. */
  files: readonly string[];
  /** What every answer without an expectation of its own has to be. */
  expect?: Expected;
  /** Where pods without a namespace are looked for. */
  namespace?: string;
  /** As the agents' configuration has it. */
  groupsJudgeOwnNode?: boolean;
  /** A configuration of the agents, whose keys of policy count; absent: that of the cluster, and for files the defaults. */
  agentConfig?: string;
  output: "table" | "json";
}

type Expected = "allow" | "deny";

interface Question {
  from: string;
  to: string;
  traffic?: string;
  expect?: Expected;
  /** Begins messages; "" for the only one. */
  where: string;
}

/**
 * Gives the text to print. `well`: every answer is as expected; without expectations, the one question's traffic passes.
 * @throws Fault where a name or a question cannot be read, or the cluster cannot
 */
export async function showWhy(open: () => Promise<OpenCluster>, options: WhyOptions): Promise<ClusterOutcome> {
  const asked = questionsOf(options);
  const { notes, services, keys, ...deciding } = await readAll(open, options);
  const answers = createAnswers(deciding, { ...keys, nowMs: Date.now() });
  const answered = asked.map((question) => ({
    question,
    found: answersTo(question, answers, { services, namespace: options.namespace }),
  }));
  const wrong = answered.flatMap(({ question, found }) =>
    found.filter(({ passes }) => question.expect !== undefined && passes !== (question.expect === "allow")),
  );
  const bare = asked.every(({ expect }) => expect === undefined) && options.questions === undefined;
  const well = bare ? answered.every(({ found }) => found.every(({ passes }) => passes)) : wrong.length === 0;
  const all = answered.flatMap(({ found }) => found);
  if (options.output === "json") return { text: all.map((one) => JSON.stringify(one)).join("\n"), well };
  const parts = [
    ...answered.flatMap(({ found }) => textsOf(found)),
    problemsText(answers.problems),
    ...notes,
    ...wrong.map(
      (one) =>
        `NOT as expected: ${one.from} -> ${one.to} over v${one.family} ${one.passes ? "passes" : "does not pass"}`,
    ),
  ];
  return { text: parts.filter((part) => part !== "").join("\n\n"), well };
}

interface Read extends Deciding {
  keys: PolicyKeys;
  services: ServiceNames;
  /** What a reader of the answers should know. */
  notes: readonly string[];
}

async function readAll(open: () => Promise<OpenCluster>, options: WhyOptions): Promise<Read> {
  const { files, agentConfig, groupsJudgeOwnNode } = options;
  const asked = groupsJudgeOwnNode === undefined ? {} : { groupsJudgeOwnNode };
  const inFile = agentConfig === undefined ? undefined : keysInFile(agentConfig);
  if (files.length > 0) {
    return { ...readFromFiles(files), services: new Map(), keys: { ...(inFile ?? defaultKeys), ...asked } };
  }
  const cluster = await open();
  try {
    const [deciding, services, { keys, notes }] = await Promise.all([
      readDeciding(cluster),
      readServices(cluster),
      inFile === undefined ? keysOfCluster(cluster) : { keys: inFile, notes: [] },
    ]);
    return { ...deciding, services, keys: { ...keys, ...asked }, notes };
  } finally {
    await cluster.kube.close();
  }
}

function questionsOf({ from, to, traffic, questions, expect }: WhyOptions): Question[] {
  const common = expect === undefined ? {} : { expect };
  if (questions !== undefined) {
    if (from !== undefined) throw new Fault("unsupported-value", "name two ends, or a file of questions, not both");
    const lines = readFileSync(questions === "-" ? 0 : questions, "utf8").split("\n");
    if (lines.length > questionsMax) throw new Fault("unsupported-value", `at most ${questionsMax} questions at once`);
    return lines.flatMap((line, index) => readQuestion(line, `question ${index + 1}: `, common));
  }
  if (from === undefined || to === undefined)
    throw new Fault("unsupported-value", "name two ends: fairlead why FROM TO [PORT]; or give --questions FILE");
  return [{ from, to, ...(traffic === undefined ? {} : { traffic }), ...common, where: "" }];
}

function readQuestion(line: string, where: string, common: { expect?: Expected }): Question[] {
  const text = line.trim();
  if (text === "" || text.startsWith("#")) return [];
  const [from = "", to, traffic, expect, ...more] = text.split(/\s+/);
  const isExpected = expect === undefined || expect === "allow" || expect === "deny";
  if (to === undefined || traffic === undefined || more.length > 0 || !isExpected)
    throw new Fault("unsupported-value", `${where}${quote(text)}: write FROM TO PORT/PROTOCOL [allow|deny]`);
  return [{ from, to, traffic, ...common, ...(expect === undefined ? {} : { expect }), where }];
}

interface Naming {
  namespace: string | undefined;
  services: ServiceNames;
}

function answersTo(question: Question, answers: Answers, { namespace, services }: Naming): WhyAnswer[] {
  try {
    const [from, to] = [question.from, question.to].map((name) => placeNamed(name, answers.view, namespace));
    if (from === undefined || to === undefined) throw new Fault("bug", "a question has two ends");
    for (const place of [from, to]) refuseService(place, services);
    const found = trafficOf(question, to, answers).flatMap((traffic) => answers.why(from, to, traffic));
    if (found.length > 0) return found;
    const [problem] = [...from.problems, ...to.problems];
    throw new Fault("not-found", problem?.says ?? `${from.title} and ${to.title} have no addresses of one family`);
  } catch (error) {
    if (question.where === "" || !(error instanceof Fault)) throw error;
    throw new Fault(error.code, `${question.where}${error.message}`);
  }
}

function trafficOf({ traffic }: Question, to: Place, answers: Answers): Traffic[] {
  const ports = answers.portsOf(to);
  if (traffic !== undefined) return [readTraffic(traffic, ports)];
  return [...ports.map(({ protocol, port }) => ({ protocol, port })), "icmp"];
}

/** Answers about one traffic stand together. */
function textsOf(found: readonly WhyAnswer[]): string[] {
  const byTraffic = Map.groupBy(found, ({ protocol, port }) => (port === undefined ? "icmp" : `${protocol} ${port}`));
  return [...byTraffic.values()].map(answersText);
}
