// Structured logs: one pino root per program, JSON lines to a file descriptor, no transports (they would start threads).

import pino from "pino";

export type Log = pino.Logger;

/** The longest line that leaves the program, in bytes; what is longer is cut. */
export const logLineLenMax = 16 * 1024;

const messageLenMax = 4 * 1024;

function cut(text: string): string {
  return text.length > messageLenMax ? `${text.slice(0, messageLenMax)}… (${text.length} characters)` : text;
}

/**
 * The program's root log.
 * `level`: pino's names, "silent" for none. `fd`: where lines go; 2 by default, since stdout belongs to answers.
 */
export function createLog(name: string, { level = "info", fd = 2 }: { level?: string; fd?: number } = {}): Log {
  return pino(
    {
      name,
      level,
      timestamp: pino.stdTimeFunctions.isoTime,
      base: { pid: process.pid },
      formatters: { level: (label) => ({ level: label }) },
      hooks: {
        streamWrite: (line) => (line.length > logLineLenMax ? `${JSON.stringify({ msg: cut(line) })}\n` : line),
      },
    },
    pino.destination({ fd, sync: true }),
  );
}

/** A log that writes nothing: for tests and one-shot commands. */
export function silentLog(): Log {
  return pino({ level: "silent" });
}
