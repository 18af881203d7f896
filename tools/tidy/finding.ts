// What a rule says, and which files are tests.

export interface Finding {
  path: string;
  /** From 1. */
  line: number;
  rule: string;
  /** What to do. */
  advice: string;
}

/** Tests, and what only tests use. */
export const isTest = (path: string): boolean => path.startsWith("test/") || path.endsWith(".test.ts");
