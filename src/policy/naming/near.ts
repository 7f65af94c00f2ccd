/** Longer names are compared with nothing: nobody mistypes one of them by hand. In UTF-16 code units. */
const MAX_LENGTH = 128;
const MAX_DISTANCE = 2;

/**
 * What a name was probably meant to be: the nearest of those that are known, as long as it is near enough that chance
 * is no explanation. Names such as `node-1` and `node-2`, which differ by their digits alone, are not near.
 */
export function near(name: string, known: Iterable<string>): string | undefined {
  if (name.length > MAX_LENGTH) return undefined;
  let [best, least] = [undefined as string | undefined, MAX_DISTANCE + 1];
  for (const other of known) {
    if (other === name || Math.abs(other.length - name.length) >= least) continue;
    const distance = apart(name, other);
    if (distance < least) [best, least] = [other, distance];
  }
  return best;
}

/** How far two names are apart; more than `MAX_DISTANCE` where they are not near. */
function apart(name: string, other: string): number {
  if (name.toLowerCase() === other.toLowerCase()) return 1;
  if (name.replace(/\d+/g, '') === other.replace(/\d+/g, '')) return Number.POSITIVE_INFINITY;
  const [one, two] = differing(name, other);
  const room = allowed(Math.max(one.length, two.length));
  const distance = editDistance(one.toLowerCase(), two.toLowerCase(), room);
  return distance > room ? Number.POSITIVE_INFINITY : distance;
}

/** A short name is near to too many. */
const allowed = (length: number): number => (length < 4 ? 0 : length < 7 ? 1 : MAX_DISTANCE);

/** Of `document.get` and `document.set`, `get` and `set`: what is the same says nothing of how near the rest is. */
function differing(name: string, other: string): readonly [string, string] {
  const [one, two] = [name, other].map((each) => each.split(/([.:/_-])/)) as [string[], string[]];
  while (one.length > 1 && two.length > 1 && one[0] === two[0]) for (const each of [one, two]) each.shift();
  while (one.length > 1 && two.length > 1 && one.at(-1) === two.at(-1))
    for (const each of [one, two]) each.pop();
  return [one.join(''), two.join('')];
}

/**
 * Insertions, deletions, changes and exchanges of neighbours (optimal string alignment) that make one of the other;
 * `most + 1` as soon as it is more than `most`.
 */
export function editDistance(one: string, other: string, most: number): number {
  if (Math.abs(one.length - other.length) > most) return most + 1;
  let before: number[] = [];
  let last = Array.from({ length: other.length + 1 }, (_, at) => at);
  for (let i = 1; i <= one.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= other.length; j += 1) {
      const isSame = one[i - 1] === other[j - 1];
      let cost = Math.min((last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (last[j - 1] ?? 0) + (isSame ? 0 : 1));
      if (i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1])
        cost = Math.min(cost, (before[j - 2] ?? 0) + 1);
      row.push(cost);
    }
    if (Math.min(...row) > most) return most + 1;
    [before, last] = [last, row];
  }
  return Math.min(last.at(-1) ?? 0, most + 1);
}
