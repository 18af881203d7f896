// An addon that does nothing and agrees to everything: for running the program's own code before it matters, never for tests.

import type { Addon, Descriptor } from "./addon.ts";
import { controlMessage, messageFlag, messageHeaderLen } from "./netlink/message.ts";

/** Gives the stand-in. Every request is acknowledged, every observation is empty; nothing reaches the kernel. */
export function createRehearsalAddon(): Addon {
  let opened = 0;
  const open = (): Descriptor => Object.assign(Object.create(null), { number: (opened += 1) });
  return {
    openNetns: open,
    netnsId: (netns) => `0:${Reflect.get(netns, "number")}`,
    descriptorNumber: () => 3,
    openNetlink: open,
    call: (_lane, _socket, request) => Promise.resolve(acknowledge(request)),
    firstPart: (_lane, _socket, request) => Promise.resolve(acknowledge(request)),
    nextPart: (_lane, _socket, request) => Promise.resolve(acknowledge(request)),
    monitor: () => {},
    writeSysctls: () => Promise.resolve(),
    readSysctls: (_netns, keys) => Promise.resolve(keys.map(() => undefined)),
    tcxPrograms: (_netns, links) => Promise.resolve(links.flatMap(() => [0, 0])),
    listen: open,
    send: (_connection, bytes) => bytes.length,
    takeOver: () => -1,
    releaseProgram: () => 0,
    close: () => {},
    stop: () => {},
  };
}

const acknowledgementLen = messageHeaderLen + 4 + messageHeaderLen;

/** One acknowledgement for each message that wants an answer. */
function acknowledge(request: Uint8Array): Buffer {
  const bytes = Buffer.from(request.buffer, request.byteOffset, request.length);
  const answers: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += (bytes.readUInt32LE(at) + 3) & ~3) {
    const flags = bytes.readUInt16LE(at + 6);
    const isDump = (flags & messageFlag.dump) === messageFlag.dump;
    if ((flags & messageFlag.ack) === 0 && !isDump) continue;
    const answer = Buffer.alloc(acknowledgementLen);
    answer.writeUInt32LE(acknowledgementLen, 0);
    answer.writeUInt16LE(isDump ? controlMessage.done : controlMessage.error, 4);
    answer.writeUInt16LE(messageFlag.capped, 6);
    bytes.copy(answer, 8, at + 8, at + 12);
    bytes.copy(answer, messageHeaderLen + 4, at, at + messageHeaderLen);
    answers.push(answer);
  }
  return Buffer.concat(answers);
}
