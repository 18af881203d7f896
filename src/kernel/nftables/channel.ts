// Sends nftables messages to one namespace and reads the answers: batches that take effect at once, and questions.

import { Fault, isFault } from "../../base/fault.ts";
import {
  type AttributeTable,
  type AttributeValues,
  createWriter,
  decodeAttributes,
  written,
} from "../netlink/codec.ts";
import {
  type Message,
  type Request,
  addonFault,
  controlMessage,
  messageFlag,
  readVerdict,
  splitMessages,
  verdictFault,
  writeMessage,
} from "../netlink/message.ts";
import { batchBorder, familyHeaderLen } from "./messages.ts";

export interface ChannelOptions {
  /** Sends netlink messages on an nfnetlink socket of the namespace and gives every answering byte (see Addon.call). */
  call: (request: Uint8Array) => Promise<Buffer>;
  /** Gives the first of `count` sequence numbers that nothing else uses. */
  nextSequence: (count: number) => number;
}

/**
 * `what` names the undertaking in faults. All throw Fault "kernel-missing" where the table, set or element is not there,
 * "kernel-busy" where the same undertaking can succeed at once, and what else `verdictFault` and `addonFault` give.
 */
export interface Channel {
  /** Makes all the changes at once, or none. With `generation`, only while that is the namespace's: "kernel-busy" in any other. */
  commit(what: string, messages: readonly Request[], generation?: number): Promise<void>;
  /** Asks for one thing and reads it by `attributes`. */
  get<T extends AttributeTable>(what: string, question: Request, attributes: T): Promise<AttributeValues<T>>;
  /** Asks for all things of a kind. */
  dump<T extends AttributeTable>(what: string, question: Request, attributes: T): Promise<AttributeValues<T>[]>;
}

/** ERESTART, which Node has no name for: the batch names a generation that has passed. */
const errnoRestart = 85;

/** Makes the channel. It keeps nothing: the socket behind `call` belongs to the caller. */
export function createChannel({ call, nextSequence }: ChannelOptions): Channel {
  async function exchange(what: string, request: Uint8Array): Promise<Message[]> {
    const answers = splitMessages(await answered(what, request));
    for (const answer of answers) throwObjection(what, answer);
    return answers;
  }

  async function answered(what: string, request: Uint8Array): Promise<Buffer> {
    try {
      return await call(request);
    } catch (error) {
      throw isFault(error) ? error : addonFault(what, error);
    }
  }

  async function ask<T extends AttributeTable>(what: string, question: Request, attributes: T, flag: number) {
    const writer = createWriter(256);
    writeMessage(writer, { ...question, flags: question.flags | flag }, nextSequence(1));
    const answers = await exchange(what, written(writer));
    return answers
      .filter((answer) => !isControl(answer))
      .map(({ body }) => decodeAttributes(attributes, body.subarray(familyHeaderLen)));
  }

  return {
    commit: async (what, messages, generation) => {
      await exchange(what, batch(messages, nextSequence(messages.length + 2), generation));
    },
    get: async (what, question, attributes) => {
      const [item] = await ask(what, question, attributes, messageFlag.ack);
      if (item === undefined) throw new Fault("kernel-refused", `${what}: the kernel answered nothing`);
      return item;
    },
    dump: (what, question, attributes) => ask(what, question, attributes, messageFlag.dump),
  };
}

/** Begin, messages, end in one request. Only the last message asks for an acknowledgement: it comes after all objections. */
function batch(messages: readonly Request[], firstSequence: number, generation: number | undefined): Uint8Array {
  const writer = createWriter();
  writeMessage(writer, batchBorder("begin", generation), firstSequence);
  for (const [index, message] of messages.entries()) {
    const ack = index === messages.length - 1 ? messageFlag.ack : 0;
    writeMessage(writer, { ...message, flags: message.flags | ack }, firstSequence + 1 + index);
  }
  writeMessage(writer, batchBorder("end"), firstSequence + 1 + messages.length);
  return written(writer);
}

function isControl({ type }: Message): boolean {
  return type === controlMessage.error || type === controlMessage.done;
}

function throwObjection(what: string, answer: Message): void {
  if (answer.type !== controlMessage.error && (answer.flags & messageFlag.dumpInterrupted) !== 0) {
    throw new Fault("kernel-busy", `${what}: the ruleset changed while it was read`);
  }
  if (!isControl(answer)) return;
  const verdict = readVerdict(answer);
  if (verdict.errno === errnoRestart) throw new Fault("kernel-busy", `${what}: the ruleset changed meanwhile`);
  if (verdict.errno !== 0) throw verdictFault(what, verdict);
}
