// What node's test runner saw, one JSON line for each test that ended: for the tool that runs mutants, not for people.

/** One line of the report. */
export interface TestEnd {
  /** The names of its suites, then its own. */
  path: string[];
  ended: "passed" | "failed" | "skipped";
  /** Of a failure: the error, with the name of its class. */
  why: string;
}

interface TestEvent {
  type: string;
  data: {
    name: string;
    nesting: number;
    skip?: string | boolean;
    todo?: string | boolean;
    details?: { error?: { cause?: unknown } };
  };
}

/** For `--test-reporter`. */
export default async function* report(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const path: string[] = [];
  for await (const { type, data } of events) {
    if (type === "test:start") path.splice(data.nesting, Infinity, data.name);
    if (type !== "test:pass" && type !== "test:fail") continue;
    const skipped = data.skip !== undefined || data.todo !== undefined;
    const end: TestEnd = {
      path: [...path.slice(0, data.nesting), data.name],
      ended: skipped ? "skipped" : type === "test:pass" ? "passed" : "failed",
      why: type === "test:fail" ? wordsOf(data.details?.error?.cause) : "",
    };
    yield `${JSON.stringify(end)}\n`;
  }
}

/** The cause of a failure is what the test threw, or a sentence of the runner's own. */
function wordsOf(cause: unknown): string {
  if (cause instanceof Error) return `${cause.name}: ${cause.message}`;
  return typeof cause === "string" ? cause : JSON.stringify(cause ?? "no reason given");
}
