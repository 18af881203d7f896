// Files that keep the host's own network daemons off what is ours: their links, routes and hardware addresses stay as we made them.

import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { placeText } from "./install.ts";
import { hostLinkPrefix } from "./plan.ts";

interface DropIn {
  /** Below the host's /etc. */
  file: string;
  /** Written only where this is there, below /etc too: what is not installed needs no settings. */
  where: string;
  /** For people. */
  why: string;
  lines: readonly string[];
}

/** First line of each, by which a later version knows its own. */
const mark = "# Made by the Fairlead agent, and by it again where it is changed.";

const dropIns: readonly DropIn[] = [
  {
    file: "systemd/network/10-fairlead.network",
    where: "systemd/network",
    why: "systemd-networkd leaves pod links alone",
    lines: ["[Match]", `Name=${hostLinkPrefix}*`, "", "[Link]", "Unmanaged=yes"],
  },
  {
    file: "systemd/network/10-fairlead.link",
    where: "systemd/network",
    why: "udev gives pod links no other hardware address or name",
    lines: ["[Match]", `OriginalName=${hostLinkPrefix}*`, "", "[Link]", "MACAddressPolicy=none", "NamePolicy="],
  },
  {
    file: "systemd/networkd.conf.d/10-fairlead.conf",
    where: "systemd/network",
    why: "systemd-networkd removes no routes and rules that it did not make",
    lines: ["[Network]", "ManageForeignRoutes=no", "ManageForeignRoutingPolicyRules=no"],
  },
  {
    file: "NetworkManager/conf.d/10-fairlead.conf",
    where: "NetworkManager/conf.d",
    why: "NetworkManager leaves pod links alone",
    lines: ["[keyfile]", `unmanaged-devices=interface-name:${hostLinkPrefix}*`],
  },
];

const textOf = ({ lines }: DropIn): string => `${[mark, ...lines].join("\n")}\n`;

/** Writes what is missing or changed; with `wanted` false, removes what an earlier run has written. @throws Fault "io-failure" */
export async function syncDropIns(etc: string, wanted: boolean): Promise<void> {
  for (const dropIn of dropIns) {
    const file = join(etc, dropIn.file);
    if (wanted && existsSync(join(etc, dropIn.where))) await placeText(file, textOf(dropIn));
    else if (!wanted && isOurs(file)) rmSync(file, { force: true });
  }
}

/** Paths of those that an agent has written. */
export function ownDropIns(etc: string): string[] {
  return dropIns.map(({ file }) => join(etc, file)).filter(isOurs);
}

/** Those that should be there and are not, with what they are for. */
export function missingDropIns(etc: string): { file: string; why: string }[] {
  return dropIns
    .filter(({ where }) => existsSync(join(etc, where)))
    .map((dropIn) => ({ file: join(etc, dropIn.file), why: dropIn.why, text: textOf(dropIn) }))
    .filter(({ file, text }) => textAt(file) !== text)
    .map(({ file, why }) => ({ file, why }));
}

function isOurs(file: string): boolean {
  return textAt(file)?.startsWith(mark) === true;
}

function textAt(file: string): string | undefined {
  return existsSync(file) ? readFileSync(file, "utf8") : undefined;
}
