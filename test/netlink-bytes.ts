// Netlink bytes for tests of the addon, made and read by hand: what the product's own codec does is not believed here.

// Numbers of the kernel's headers that the tests need.
export const [request, ack, dump, create, excl] = [0x1, 0x4, 0x300, 0x400, 0x200];
export const [noop, error, done] = [1, 2, 3];
export const [newLink, getLink, setLink, getRoute] = [16, 18, 19, 26];
export const [route, netfilter] = [0, 12];
export const [batchBegin, batchEnd, newTable, deleteTable] = [0x10, 0x11, 0xa00, 0xa02];

export function message(type: number, flags: number, seq: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const bytes = Buffer.alloc((16 + payload.length + 3) & ~3);
  bytes.writeUInt32LE(16 + payload.length, 0);
  bytes.writeUInt16LE(type, 4);
  bytes.writeUInt16LE(flags, 6);
  bytes.writeUInt32LE(seq, 8);
  payload.copy(bytes, 16);
  return bytes;
}

export function attribute(type: number, value: Buffer): Buffer {
  const bytes = Buffer.alloc((4 + value.length + 3) & ~3);
  bytes.writeUInt16LE(4 + value.length, 0);
  bytes.writeUInt16LE(type, 2);
  value.copy(bytes, 4);
  return bytes;
}

/** A message about the link of that name: struct ifinfomsg and IFLA_IFNAME. */
export function aboutLink(type: number, flags: number, seq: number, name: string): Buffer {
  return message(type, flags, seq, Buffer.concat([Buffer.alloc(16), attribute(3, Buffer.from(`${name}\0`))]));
}

/** A message to nftables: struct nfgenmsg (family inet, subsystem in the resource id of batch messages) and attributes. */
export function toNftables(type: number, flags: number, seq: number, attributes: Buffer, subsystem = 10): Buffer {
  return message(type, flags | request, seq, Buffer.concat([Buffer.from([1, 0, 0, subsystem]), attributes]));
}

export interface Answer {
  type: number;
  seq: number;
  /** Of an error message: 0 or a negative errno. */
  code: number;
}

export function answers(bytes: Buffer): Answer[] {
  const found: Answer[] = [];
  for (let at = 0; at < bytes.length; at += (bytes.readUInt32LE(at) + 3) & ~3) {
    const type = bytes.readUInt16LE(at + 4);
    found.push({ type, seq: bytes.readUInt32LE(at + 8), code: type === error ? bytes.readInt32LE(at + 16) : 0 });
  }
  return found;
}

/** A request that the kernel passes over in silence. */
export const silent = message(noop, request | dump, 1);
