// A runtime that runs configuration lists as the common library does: plugin after plugin, each with the result before it, back again for DEL.

import assert from "node:assert/strict";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { present } from "../../src/base/assert.ts";
import type { Pod, TestNode } from "./node.ts";
import { documentOf, type Outcome, type Result, runPlugin, silent } from "./runtime.ts";

export interface List {
  cniVersion: string;
  name: string;
  plugins: readonly ({ type: string } & Record<string, unknown>)[];
}

type Json = Record<string, unknown>;

/** A result as the library hands it on: read into its own types and written again, which leaves empty texts out. */
export const rewritten = (result: Json): Json =>
  JSON.parse(JSON.stringify(result, (_, value: unknown) => (value === "" ? undefined : value))) as Json;

const final = (result: Json | undefined): Json => (result === undefined ? {} : { prevResult: rewritten(result) });

export interface ChainRuntime {
  /** Runs ADD of every plugin; gives the final result, which the runtime caches. */
  add(pod: Pod, capabilities?: Json): Promise<Json & Result>;
  /** ADD of a list in which one plugin must fail; gives its answer. */
  addFails(pod: Pod): Promise<Outcome>;
  /** Runs DEL of every plugin, last first, with the final result; every one must succeed. */
  del(pod: Pod, result?: Json, capabilities?: Json): Promise<void>;
  /** Runs CHECK of every plugin in order with the final result; gives the answers. */
  check(pod: Pod, result: Json, capabilities?: Json): Promise<Outcome[]>;
  /** Runs STATUS or GC of every plugin; gives the answers. */
  all(verb: "STATUS" | "GC", more?: Json): Promise<Outcome[]>;
}

/** The runtime of `node` for one list; plugins are the first regular files of their names in `directories`. */
export function createChain(node: TestNode, list: List, directories: readonly string[]): ChainRuntime {
  const cniPath = directories.join(":");
  const call = async (verb: string, plugin: List["plugins"][number], pod: Pod | undefined, more: Json) => {
    const program = directories
      .map((directory) => join(directory, plugin.type))
      .find((file) => existsSync(file) && statSync(file).isFile());
    assert.ok(program !== undefined, `plugin ${plugin.type} in ${cniPath}`);
    return runPlugin(program, {
      env: node.env(verb, pod, { CNI_PATH: cniPath, PATH: "/usr/bin:/bin" }),
      stdin: JSON.stringify({ ...plugin, name: list.name, cniVersion: list.cniVersion, ...more }),
    });
  };
  /** What of the runtime's capability arguments the plugin declared to take. */
  const runtimeConfig = (plugin: List["plugins"][number], given: Json): Json => {
    const declared = (plugin["capabilities"] ?? {}) as Json;
    const taken = Object.entries(given).filter(([key]) => declared[key] === true);
    return taken.length === 0 ? {} : { runtimeConfig: Object.fromEntries(taken) };
  };
  /** The answer of the last plugin, or of the first that failed. */
  const addAll = async (pod: Pod, capabilities: Json): Promise<Outcome> => {
    let last: Outcome | undefined;
    for (const plugin of list.plugins) {
      const more = { ...runtimeConfig(plugin, capabilities), ...final(last && documentOf(last)) };
      last = await call("ADD", plugin, pod, more);
      if (last.exitCode !== 0) break;
    }
    return present(last, "answer of a plugin");
  };
  return {
    add: async (pod, capabilities = {}) => documentOf(await addAll(pod, capabilities)) as Json & Result,
    addFails: async (pod) => {
      const last = await addAll(pod, {});
      assert.notEqual(last.exitCode, 0, "a plugin fails");
      return last;
    },
    del: async (pod, result, capabilities = {}) => {
      for (const plugin of list.plugins.toReversed()) {
        const outcome = await call("DEL", plugin, pod, { ...runtimeConfig(plugin, capabilities), ...final(result) });
        silent({ ...outcome, stderr: "" }); // scripts log
      }
    },
    check: async (pod, result, capabilities = {}) => {
      const outcomes: Outcome[] = [];
      for (const plugin of list.plugins)
        outcomes.push(await call("CHECK", plugin, pod, { ...runtimeConfig(plugin, capabilities), ...final(result) }));
      return outcomes;
    },
    all: async (verb, more = {}) => {
      const outcomes: Outcome[] = [];
      for (const plugin of list.plugins) outcomes.push(await call(verb, plugin, undefined, more));
      return outcomes;
    },
  };
}
