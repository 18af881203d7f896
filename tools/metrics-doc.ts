// Makes docs/metrics.md from the table of metrics; run it after a change of src/base/metrics.ts.

import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { metricTable } from "../src/base/metrics.ts";

export const metricsFile = fileURLToPath(new URL("../docs/metrics.md", import.meta.url));

/** The text of docs/metrics.md. */
export function metricsText(): string {
  const rows = Object.entries(metricTable).map(
    ([name, { kind, labels, help }]) => `| \`${name}\` | ${kind} | ${labels.join(", ")} | ${help} |`,
  );
  return `# Metrics

The agent answers \`GET /metrics\` on its read-only socket (\`status.sock\` beside the CNI socket) in the Prometheus text form.
There is no TCP port for them: who may reach the node's address must not learn from it what its pods do. To scrape
an agent, let something that runs on the node as root read the socket; node_exporter's textfile collector takes the answer as it is:

    curl -sS --unix-socket /run/fairlead/status.sock -o /var/lib/node_exporter/fairlead.prom.new http://node/metrics &&
      mv /var/lib/node_exporter/fairlead.prom.new /var/lib/node_exporter/fairlead.prom

The controller's are at its \`status.address\` ([controller.md](controller.md)): 127.0.0.1 unless you name another.

Names and labels are fixed. This page is made from \`src/base/metrics.ts\` by \`tools/metrics-doc.ts\`.

| name | kind | labels | what it says |
|---|---|---|---|
${rows.join("\n")}

On the same socket: \`/healthz\` answers while the agent lives, \`/readyz\` says 503 with the reason where something that living
pods need cannot be repaired, \`/status\` and \`/pods\` are what \`fairlead status\` and \`fairlead pods\` print.
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(metricsFile, metricsText());
