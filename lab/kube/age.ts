// How long ago something was, as kubectl writes it: 5s, 3m, 2h, 4d.

/** The age of an RFC 3339 time; "<unknown>" where there is none. */
export function age(time: string | undefined, nowMs = Date.now()): string {
  const thenMs = Date.parse(time ?? "");
  if (Number.isNaN(thenMs)) return "<unknown>";
  const seconds = Math.max(0, Math.floor((nowMs - thenMs) / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}
