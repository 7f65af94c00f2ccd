const letter = /\p{L}/u;
const digit = /\p{Nd}/u;

/** go-yaml's order of keys: numbers in them count as such, and letters come behind other characters. */
export function sortedByKey<T>(
  entries: Iterable<readonly [key: string, value: T]>,
): (readonly [string, T])[] {
  const apart = Array.from(entries, (entry) => ({ entry, characters: Array.from(entry[0]) }));
  apart.sort((a, b) => (isLess(a.characters, b.characters) ? -1 : 1));
  return apart.map(({ entry }) => entry);
}

function isLess(a: readonly string[], b: readonly string[]): boolean {
  let inNumber = false;
  for (let index = 0; index < a.length && index < b.length; index += 1) {
    const [first = '', second = ''] = [a[index], b[index]];
    if (first === second) {
      inNumber = digit.test(first);
      continue;
    }
    const areLetters = [letter.test(first), letter.test(second)] as const;
    if (areLetters[0] && areLetters[1]) return isBefore(first, second);
    if (areLetters[0] || areLetters[1]) return inNumber ? areLetters[0] : areLetters[1];
    const one = numberAt(a, b, index, a);
    const two = numberAt(a, b, index, b);
    if (one.value !== two.value) return one.value < two.value;
    if (one.end !== two.end) return one.end < two.end;
    return isBefore(first, second);
  }
  return a.length < b.length;
}

function isBefore(a: string, b: string): boolean {
  return (a.codePointAt(0) ?? 0) < (b.codePointAt(0) ?? 0);
}

/** A zero within a number that began before counts as if a one were there. */
function numberAt(
  a: readonly string[],
  b: readonly string[],
  index: number,
  of: readonly string[],
): { value: bigint; end: number } {
  let value = 0n;
  if (a[index] === '0' || b[index] === '0')
    for (let before = index - 1; before >= 0 && digit.test(a[before] ?? ''); before -= 1)
      if (a[before] !== '0') {
        value = 1n;
        break;
      }
  let end = index;
  for (; end < of.length && digit.test(of[end] ?? ''); end += 1)
    value = BigInt.asIntN(64, value * 10n + BigInt((of[end]?.codePointAt(0) ?? 0x30) - 0x30));
  return { value, end };
}
