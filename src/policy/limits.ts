// Numbers that the compiler and the kernel's table share: which link groups are classes, and how much one ruleset is.

/** Groups of links that are classes: packets of such a link are judged. Links of other groups are left alone. */
export const classNumbers = { first: 101, last: 65_535 } as const;

/** What a ruleset has at most, so that it can be loaded at once: classes, links, entries of ports, rules and lists, addresses and networks. */
export const policyLimits = { classes: 8192, links: 8192, ports: 150_000, rules: 20_000, addresses: 200_000 } as const;
