// `fairlead why FROM TO [PORT]`: whether traffic passes, which object decides in each judgement, and what would have to change.

import { Fault, isFault } from "../base/fault.ts";
import { defaultKeys, type PolicyKeys } from "../policy/keys.ts";
import type { OpenCluster } from "./cluster/open.ts";
import { placeNamed } from "./route/name.ts";
import type { Place } from "./route/place.ts";
import { readServices, refuseService, type ServiceNames } from "./route/services.ts";
import { type Answers, createAnswers, type WhyAnswer } from "./why/answer.ts";
import { readFromFiles } from "./why/from-files.ts";
import { keysInFile, keysOfCluster } from "./why/keys.ts";
import { type Deciding, readDeciding } from "./why/objects.ts";
import { type Expected, linesOf, type Question, readQuestion } from "./why/questions.ts";
import { answersText, type Counts, problemLines, problemsText, summaryText, wrongText } from "./why/report.ts";
import { readTraffic, type Traffic } from "./why/traffic.ts";

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

export interface WhyOutcome {
  /** For stdout; "" for nothing. */
  text: string;
  /** For stderr, a line each: questions that could not be answered; with JSON, also what of the objects does not count. */
  told: readonly string[];
  /** 0 where all is as it should be, 1 where an answer is not, 2 where a question could not be answered. */
  exitCode: 0 | 1 | 2;
}

/** A question with its answers, one for each family and traffic. */
interface Answered {
  question: Question;
  found: readonly WhyAnswer[];
}

interface Unanswered {
  /** Which line of the file has no answer, and why. */
  told: string;
}

/**
 * Answers all questions. Without expectations the one question's traffic should pass. Of files, everything that is written has to count
 * where something is expected: what does not count keeps shut what it should open, and an expected "deny" would hold by a mistake.
 * @throws Fault where the one question or no question can be answered, or the objects cannot be read
 */
export async function showWhy(open: () => Promise<OpenCluster>, options: WhyOptions): Promise<WhyOutcome> {
  const { questions: file, output, files } = options;
  if (file !== undefined && options.from !== undefined)
    throw new Fault("unsupported-value", "name two ends, or a file of questions, not both");
  const lines = file === undefined ? [] : linesOf(file);
  const only = file === undefined ? onlyQuestion(options) : undefined;
  const { notes, services, keys, ...deciding } = await readAll(open, options);
  const answers = createAnswers(deciding, { ...keys, nowMs: Date.now() });
  const naming = { services, namespace: options.namespace };
  const each =
    only === undefined
      ? lines.map((line) => answerLine(line.line, () => answered(readQuestion(line, options.expect), answers, naming)))
      : [answered(only, answers, naming)];
  const known = each.filter((one) => "found" in one);
  const told = each.flatMap((one) => ("told" in one ? [one.told] : []));
  const isExpected = known.some(({ question }) => question.expect !== undefined);
  // Policies of others were never meant to count.
  const ofOthers = deciding.problems?.length ?? 0;
  const uncounted = isExpected && files.length > 0 ? answers.problems.length - ofOthers : 0;
  const well =
    only !== undefined && !isExpected
      ? known.every(({ found }) => found.every(({ passes }) => passes))
      : known.every(isRight) && uncounted === 0;
  const exitCode = told.length > 0 ? 2 : well ? 0 : 1;
  if (output === "json") {
    const text = known.flatMap(({ question, found }) => found.map((one) => JSON.stringify(forPrograms(question, one))));
    return { text: text.join("\n"), told: [...told, ...problemLines(answers.problems)], exitCode };
  }
  const parts = [
    ...known.filter((one) => isShown(one)).flatMap(({ found }) => textsOf(found)),
    problemsText(answers.problems),
    ...notes,
    known.flatMap(({ question, found }) => wrongOf(question, found).map((one) => wrongText(question, one))).join("\n"),
    ...(only === undefined ? [summaryText(countsOf(known, told.length, uncounted))] : []),
  ];
  return { text: parts.filter((part) => part !== "").join("\n\n"), told, exitCode };
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
    return { ...readFromFiles(files), keys: { ...(inFile ?? defaultKeys), ...asked } };
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

function onlyQuestion({ from, to, traffic, expect }: WhyOptions): Question {
  if (from === undefined || to === undefined)
    throw new Fault("unsupported-value", "name two ends: fairlead why FROM TO [PORT]; or give --questions FILE");
  return { from, to, ...(traffic === undefined ? {} : { traffic }), ...(expect === undefined ? {} : { expect }) };
}

/** One that cannot be answered keeps no other from its answer. */
function answerLine(line: number, answer: () => Answered): Answered | Unanswered {
  try {
    return answer();
  } catch (error) {
    if (!isFault(error)) throw error;
    return { told: `line ${line}: ${error.message}` };
  }
}

const isAsExpected = ({ passes }: WhyAnswer, expect: Expected): boolean => passes === (expect === "allow");

const wrongOf = ({ expect }: Question, found: readonly WhyAnswer[]): WhyAnswer[] =>
  expect === undefined ? [] : found.filter((one) => !isAsExpected(one, expect));

const isRight = ({ question, found }: Answered): boolean => wrongOf(question, found).length === 0;

/** Of a file, answers that were expected are not told: they would bury the others. */
function isShown(one: Answered): boolean {
  const { line, expect } = one.question;
  return line === undefined || expect === undefined || !isRight(one);
}

function forPrograms({ line, expect }: Question, answer: WhyAnswer): WhyAnswer {
  return {
    ...answer,
    ...(line === undefined ? {} : { line }),
    ...(expect === undefined ? {} : { expected: expect, asExpected: isAsExpected(answer, expect) }),
  };
}

function countsOf(known: readonly Answered[], unanswered: number, uncounted: number): Counts {
  const expected = known.filter(({ question }) => question.expect !== undefined);
  return {
    expected: expected.length,
    wrong: expected.filter((one) => !isRight(one)).length,
    free: known.length - expected.length,
    unanswered,
    uncounted,
  };
}

interface Naming {
  namespace: string | undefined;
  services: ServiceNames;
}

/** @throws Fault where an end or the traffic cannot be read, or the ends have no addresses of one family */
function answered(question: Question, answers: Answers, { namespace, services }: Naming): Answered {
  const [from, to] = [question.from, question.to].map((name) => placeNamed(name, answers.view, namespace));
  if (from === undefined || to === undefined) throw new Fault("bug", "a question has two ends");
  for (const place of [from, to]) refuseService(place, services);
  const found = trafficOf(question, to, answers).flatMap((traffic) => answers.why(from, to, traffic));
  if (found.length > 0) return { question, found };
  const [problem] = [from, to].flatMap(({ addresses, problems }) => (addresses.length === 0 ? problems : []));
  const families = `${from.title} and ${to.title} have no addresses of one family`;
  throw new Fault("not-found", problem === undefined ? families : `${problem.says}; ${problem.cure}`);
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
