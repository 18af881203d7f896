// Numbers of the nftables wire: linux/netfilter/nfnetlink.h and linux/netfilter/nf_tables.h, and the data types that nft prints by.

/** NFPROTO_INET: one table for IPv4 and IPv6. */
export const familyInet = 1;

/** The families whose tables see forwarded IP packets. */
export const forwardFamilies = { inet: familyInet, ip: 2, ip6: 10 } as const;

/** NFNL_SUBSYS_NFTABLES: the high byte of every message type, and what a batch begin names. */
export const subsystem = 10;

/** Begin and end of a batch; every message between them takes effect at once or not at all. */
export const batchMessage = { begin: 0x10, end: 0x11 } as const;

const message = (number: number): number => (subsystem << 8) | number;

/** NFT_MSG_*. */
export const nftMessage = {
  newTable: message(0),
  getTable: message(1),
  deleteTable: message(2),
  newChain: message(3),
  getChain: message(4),
  deleteChain: message(5),
  newRule: message(6),
  getRule: message(7),
  deleteRule: message(8),
  newSet: message(9),
  getSet: message(10),
  deleteSet: message(11),
  newElements: message(12),
  getElements: message(13),
  deleteElements: message(14),
  newGeneration: message(15),
  getGeneration: message(16),
  newObject: message(18),
  getObject: message(19),
  deleteObject: message(20),
  /** As deleteElements, but what is not there is no error. Linux 6.3. */
  destroyElements: message(30),
} as const;

/** NF_INET_* hooks. */
export const hooks = { prerouting: 0, input: 1, forward: 2, output: 3, postrouting: 4 } as const;

/** Where a chain stands among others of its hook, by the names that nft gives to these numbers. */
export const priorities = { raw: -300, mangle: -150, filter: 0, "srcnat + 10": 110 } as const;

/** NF_ACCEPT. */
export const policyAccept = 1;

/** NFT_SET_* flags. */
export const setFlag = { anonymous: 1, constant: 2, interval: 4, map: 8, timeout: 0x10, byPackets: 0x20 } as const;

/** NFT_DATA_VERDICT: the data type of a map to verdicts. */
export const verdictData = 0xffff_ff00;

/** NFT_SET_ELEM_INTERVAL_END: the key is the first one after an interval. */
export const elementIntervalEnd = 1;

/** NFT_OBJECT_COUNTER. */
export const objectCounter = 1;

/** Verdicts as the verdict register holds them, signed. */
export const verdicts = { drop: 0, accept: 1, jump: -3, goto: -4, return: -5 } as const;

/** NFT_REG_VERDICT. */
export const verdictRegister = 0;

/** NFT_META_*. */
export const metaKey = { iifname: 6, oifname: 7, nfproto: 15, l4proto: 16, iifgroup: 21, oifgroup: 22 } as const;

/** NFT_CT_STATE. */
export const trackingState = 0;

/** NFT_LIMIT_PKTS, in packets a second. */
export const limitPackets = { type: 0, unitSeconds: 1n, flags: 0 } as const;

/** NFT_DYNSET_OP_UPDATE. */
export const dynsetUpdate = 1;

/** NFT_LOOKUP_F_INV. */
export const lookupInverted = 1;

/** NFT_REJECT_TCP_RST. */
export const rejectWithReset = 1;

/** NFT_FIB_RESULT_ADDRTYPE of what NFTA_FIB_F_DADDR looks up. */
export const fibDestinationType = { result: 3, flags: 2 } as const;

/** NFT_NG_RANDOM. */
export const numberRandom = 1;

/** NFT_BYTEORDER_HTON. */
export const toNetworkOrder = 1;

/** NF_NAT_RANGE_* of linux/netfilter/nf_nat.h. */
export const natFlag = { portsGiven: 2, fullyRandom: 16 } as const;

/** NFT_PAYLOAD_*_HEADER: what an offset counts from. */
export const payloadBase = { network: 1, transport: 2 } as const;

/** NFT_CMP_*. */
export const compare = { equal: 0, unequal: 1, less: 2, atMost: 3, atLeast: 5 } as const;

/**
 * Data types by nft's own numbers (`enum datatypes` in its datatype.h). The kernel only keeps them, so that a set prints
 * as names and addresses and not as bytes.
 */
export const dataType = {
  nfproto: 2,
  ipv4: 7,
  ipv6: 8,
  inetProtocol: 12,
  inetService: 13,
  tcpFlag: 15,
  trackingState: 26,
  icmpv6Type: 29,
  deviceGroup: 35,
  fibAddressType: 38,
  ifname: 41,
} as const;

/** Bits that each field takes in the data type of a concatenation. */
export const dataTypeBits = 6;

/** Entries of user data are type, length, value (nft's own form). nft shows a table's comment and skips types that it does not know. */
export const userDataType = { tableComment: 0, setKeyByteOrder: 0, ourTag: 0xf1 } as const;

/** nft's BYTEORDER_BIG_ENDIAN and BYTEORDER_HOST_ENDIAN. */
export const byteOrder = { host: 1, big: 2 } as const;
