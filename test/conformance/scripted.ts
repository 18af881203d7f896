// Plugins that are scripts: each records the environment, the input and the descriptors of every call, and answers as it is told by jq.

import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Scope } from "./node.ts";

/** One call as the script saw it. */
export interface SeenCall {
  verb: string;
  env: Readonly<Record<string, string>>;
  stdinText: string;
  stdin: Record<string, unknown>;
  /** Open descriptors beside those of the script's own work. */
  descriptors: string[];
}

export interface ScriptedPlugin {
  name: string;
  /** Where it lies: a directory for CNI_PATH. */
  directory: string;
  /** From now on `verb` prints what the jq filter makes of the input; "empty" prints nothing. Its exit code is `exitCode`. */
  answers(verb: string, filter: string, exitCode?: number): void;
  /** From now on `verb` fails with this error object. */
  fails(verb: string, code: number, msg: string): void;
  /** From now on `verb` prints this text, JSON or not. */
  prints(verb: string, text: string, exitCode?: number): void;
  /** Calls so far, oldest first; of one verb, or of all. */
  calls(verb?: string): SeenCall[];
}

const script = (records: string): string => `#!/bin/sh
records='${records}'
call="$records/$(date +%s%N)-$$-$CNI_COMMAND"
ls /proc/$$/fd >"$call.fds"
cat /proc/$$/environ >"$call.env"
cat >"$call.in"
mv "$call.in" "$call.stdin"
echo "a line of the plugin's log" >&2
if [ -f "$records/$CNI_COMMAND.text" ]; then cat "$records/$CNI_COMMAND.text"
elif [ -f "$records/$CNI_COMMAND.jq" ]; then PATH=/usr/bin:/bin:/usr/local/bin jq -c -f "$records/$CNI_COMMAND.jq" "$call.stdin"
fi
exit "$(cat "$records/$CNI_COMMAND.exit" 2>/dev/null || echo 0)"
`;

/** Writes the plugin `name` into a directory of its own, or into `directory`; it is removed when the scope ends. */
export function scriptPlugin(
  t: Scope,
  name: string,
  directory = mkdtempSync(join(tmpdir(), "fltest-cni-")),
): ScriptedPlugin {
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const records = join(directory, `${name}.records`);
  mkdirSync(records, { recursive: true });
  const file = join(directory, name);
  writeFileSync(file, script(records));
  chmodSync(file, 0o755);
  const tell = (verb: string, kind: "jq" | "text", content: string, exitCode: number): void => {
    for (const old of ["jq", "text"]) rmSync(join(records, `${verb}.${old}`), { force: true });
    writeFileSync(join(records, `${verb}.${kind}`), content);
    writeFileSync(join(records, `${verb}.exit`), String(exitCode));
  };
  return {
    name,
    directory,
    answers: (verb, filter, exitCode = 0) => tell(verb, "jq", filter, exitCode),
    fails: (verb, code, msg) => tell(verb, "jq", JSON.stringify({ cniVersion: "1.1.0", code, msg }), 1),
    prints: (verb, text, exitCode = 0) => tell(verb, "text", text, exitCode),
    calls: (verb) => readCalls(records).filter((call) => verb === undefined || call.verb === verb),
  };
}

function readCalls(records: string): SeenCall[] {
  return readdirSync(records)
    .filter((file) => file.endsWith(".stdin"))
    .sort()
    .map((file) => {
      const base = join(records, file.slice(0, -".stdin".length));
      const stdinText = readFileSync(`${base}.stdin`, "utf8");
      const entries = readFileSync(`${base}.env`, "utf8")
        .split("\0")
        .filter((entry) => entry !== "");
      return {
        verb: base.slice(base.lastIndexOf("-") + 1),
        env: Object.fromEntries(entries.map((entry) => [entry.replace(/=.*/s, ""), entry.replace(/^[^=]*=/, "")])),
        stdinText,
        stdin: stdinText === "" ? {} : (JSON.parse(stdinText) as Record<string, unknown>),
        descriptors: readFileSync(`${base}.fds`, "utf8").trim().split("\n"),
      };
    });
}

/** A jq filter that passes the previous result on with additions: what a chained plugin does. */
export const passOn = (additions = "."): string => `.prevResult | ${additions}`;
