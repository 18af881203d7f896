// Numbers that the compiler and the kernel's table share: which link groups are classes, and how much one ruleset is.

/** Groups of links that are classes: packets of such a link are judged. Links of other groups are left alone. */
export const classNumbers = { first: 101, last: 65_535 } as const;

/**
 * What a ruleset has at most, so that it can be loaded at once: classes, links, entries of ports, rules and lists, addresses and networks.
 * At all of these one batch is 30 MiB, and a message to the kernel is 32 MiB at most (native/addon_calls.c); 40,000 rules would be 37.
 * A rule of one port is an entry of `ports`; a list of peers is one rule for each peer and one more, once in a layer however many rules
 * have it. So 110 pods of 300 rules each are 33,000 ports, and reach 20,000 rules only where each pod has 45 lists of three peers of its own.
 */
export const policyLimits = { classes: 8192, links: 8192, ports: 150_000, rules: 20_000, addresses: 200_000 } as const;
