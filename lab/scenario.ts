// Text scenarios: lines of plain words into typed steps, or an error that names file, line and the known forms. Pure.

import { Fault } from "../src/base/fault.ts";
import type { Action } from "./actions.ts";
import { forms } from "./forms.ts";
import { createNames } from "./names.ts";

/** Lines in one scenario. */
const linesMax = 1_000;

export interface Step {
  line: number;
  /** The step as written, without its comment. */
  text: string;
  /** The comment right above, joined to one line: what the step is to show. "" where there is none. */
  claim: string;
  action: Action;
}

export interface Scenario {
  file: string;
  /** The comment at the top of the file, up to the first empty line. */
  title: string;
  steps: readonly Step[];
}

/**
 * Reads a scenario; `file` is only named in messages. A "#" at the start of a line or after a space begins a comment.
 * @throws Fault "lab-failed" at the first line that is no known form, or that names what is not there at that point.
 */
export function parseScenario(text: string, file: string): Scenario {
  const lines = text.split("\n");
  if (lines.length > linesMax) throw new Fault("lab-failed", `${file} has more than ${linesMax} lines; split it`);
  const names = createNames();
  const steps: Step[] = [];
  let title: string | undefined;
  let comment: string[] = [];
  for (const [index, raw] of lines.entries()) {
    const [, body = "", note] = /^(.*?)(?:(?:^|\s)#\s*(.*))?$/.exec(raw.trim()) ?? [];
    const step = body.trim().replaceAll(/\s+/g, " ");
    if (step === "" && note !== undefined) {
      comment.push(note);
      continue;
    }
    if (step === "") {
      title ??= comment.join(" "); // the first comment stands apart from the steps
    } else {
      const place = `${file}:${index + 1}`;
      const action = readAction(step, place);
      names.use(action, `${place}: ${step}`);
      steps.push({ line: index + 1, text: step, claim: comment.join(" "), action });
    }
    comment = [];
  }
  if (steps.length === 0) throw new Fault("lab-failed", `${file} has no step; ${knownForms()}`);
  return { file, title: title ?? "", steps };
}

function readAction(step: string, place: string): Action {
  for (const { pattern, read } of forms) {
    const match = pattern.exec(step);
    if (match === null) continue;
    const action = read(match.groups ?? {});
    if (typeof action === "string") throw new Fault("lab-failed", `${place}: ${step}: ${action}`);
    return action;
  }
  throw new Fault("lab-failed", `${place}: "${step}" is no known step; ${knownForms()}`);
}

function knownForms(): string {
  return `known are:\n${forms.map(({ shape }) => `  ${shape}`).join("\n")}`;
}
