// The word that somebody may have meant by one that nobody knows.

/** Longer words are no slips of the pen, and would cost. */
const wordLenMax = 64;
/** One slip is forgiven for each so many letters, and never more than two. */
const lettersASlip = 3;
const slipsMax = 2;

/** The first of the `known` that lies nearest to `word`, letter case aside; undefined where all of them are too far away. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  if (word.length > wordLenMax) return undefined;
  const allowed = Math.min(slipsMax, Math.max(1, Math.floor(word.length / lettersASlip)));
  const [first] = known
    .filter((one) => Math.abs(one.length - word.length) <= allowed)
    .map((one) => ({ one, slips: slipsBetween(word.toLowerCase(), one.toLowerCase()) }))
    .filter(({ slips }) => slips <= allowed)
    .sort((a, b) => a.slips - b.slips);
  return first?.one;
}

/** Letters that are wrong, missing or too many, and neighbours that changed places: each counts once. */
function slipsBetween(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1];
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      next.push(
        Math.min(
          cell(row, j) + 1,
          cell(next, j - 1) + 1,
          cell(row, j - 1) + (same ? 0 : 1),
          swapped ? cell(before, j - 2) + 1 : Number.POSITIVE_INFINITY,
        ),
      );
    }
    [before, row] = [row, next];
  }
  return cell(row, b.length);
}

const cell = (row: readonly number[], at: number): number => row[at] ?? Number.POSITIVE_INFINITY;
