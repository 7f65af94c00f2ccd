import { type BuiltinContext, BuiltinError, type BuiltinTable, text } from '../builtin.ts';

/** Whether two expressions of characters, `.`, sets, `*` and `+` have a text in common (OPA's glob-intersection). */
export const globsBuiltins: BuiltinTable = {
  'regex.globs_match': ([left, right], context) =>
    intersects(tokensOf(text(left), context), tokensOf(text(right), context), context),
};

/** Fuel units to read a character, and to compare two tokens or two ranges: measured, 100 and 50 ns. */
const unitsPerCharacter = 500;
const unitsPerComparison = 150;
/** Fuel units of a pair of places: measured, 400 ns. */
const unitsPerPair = 1_500;
/** Each token of a flag can be a call within another. OPA's own takes exponential time long before. */
const mostTokens = 300;

interface Token {
  /** The characters it stands for, as ranges; undefined for any. */
  readonly ranges: readonly (readonly [number, number])[] | undefined;
  readonly isSet: boolean;
  flag: '' | '+' | '*';
}

function tokensOf(value: string, context: BuiltinContext): Token[] {
  context.spend(value.length * unitsPerCharacter);
  const tokens: Token[] = [];
  const points = Array.from(value);
  const reader = { points, at: 0 };
  while (reader.at < points.length) {
    const token = readToken(reader);
    const flag = points[reader.at];
    if (flag === '+' || flag === '*') {
      token.flag = flag;
      reader.at += 1;
    }
    const last = tokens.at(-1);
    // x+x* is x+, and x*x* is x*.
    if (last && last.flag !== '' && token.flag !== '' && isSame(last, token))
      last.flag = last.flag === '+' || token.flag === '+' ? '+' : '*';
    else tokens.push(token);
  }
  if (tokens.length > mostTokens) throw new BuiltinError('too long');
  return tokens;
}

interface Reader {
  readonly points: readonly string[];
  at: number;
}

/** The next character, and whether a backslash was before it. */
function next(reader: Reader): { point: string; isEscaped: boolean } {
  const point = reader.points[reader.at];
  if (point !== '\\') {
    reader.at += 1;
    if (point === undefined) throw new BuiltinError('found [ without matching ]');
    return { point, isEscaped: false };
  }
  const escaped = reader.points[reader.at + 1];
  if (escaped === undefined) throw new BuiltinError('input ends with an escape');
  reader.at += 2;
  return { point: escaped, isEscaped: true };
}

const code = (point: string): number => point.codePointAt(0) ?? 0;

function readToken(reader: Reader): Token {
  const { point, isEscaped } = next(reader);
  if (!isEscaped) {
    if (point === '.') return { ranges: undefined, isSet: false, flag: '' };
    if (point === '[') return { ranges: readSet(reader), isSet: true, flag: '' };
    if (point === ']' || point === '+' || point === '*') throw new BuiltinError('nothing is before it');
  }
  return { ranges: [[code(point), code(point)]], isSet: false, flag: '' };
}

function readSet(reader: Reader): (readonly [number, number])[] {
  const ranges: [number, number][] = [];
  let previous: number | undefined;
  for (;;) {
    const { point, isEscaped } = next(reader);
    if (!isEscaped && point === ']') return merged(ranges);
    if (isEscaped || point !== '-') {
      previous = code(point);
      ranges.push([previous, previous]);
      continue;
    }
    if (previous === undefined) throw new BuiltinError('a range has no beginning');
    if (reader.at >= reader.points.length - 1) throw new BuiltinError('a range has no end');
    const last = next(reader);
    if (!last.isEscaped && (last.point === ']' || last.point === '-'))
      throw new BuiltinError('a range has no end');
    if (code(last.point) < previous) throw new BuiltinError('a range is out of order');
    ranges.push([previous, code(last.point)]);
    previous = undefined;
  }
}

/** In order, none touching another. */
function merged(ranges: [number, number][]): [number, number][] {
  const result: [number, number][] = [];
  for (const [low, high] of ranges.sort(([a], [b]) => a - b)) {
    const last = result.at(-1);
    if (last && low <= last[1] + 1) last[1] = Math.max(last[1], high);
    else result.push([low, high]);
  }
  return result;
}

function isSame(a: Token, b: Token): boolean {
  return a.isSet === b.isSet && JSON.stringify(a.ranges) === JSON.stringify(b.ranges);
}

function intersects(left: readonly Token[], right: readonly Token[], context: BuiltinContext): boolean {
  const range = trim(left, right, (a, b) => overlap(a, b, context));
  if (!range) return false;
  const [start, leftEnd, rightEnd] = range;
  return haveCommon(left.slice(start, leftEnd), right.slice(start, rightEnd), context);
}

/** All ways from the fronts, each pair of places looked at once. */
function haveCommon(left: readonly Token[], right: readonly Token[], context: BuiltinContext): boolean {
  const sides = [left, right] as const;
  const token = (side: number, at: number): Token => sides[side]?.[at] as Token;
  const size = (side: number): number => sides[side]?.length ?? 0;
  // A pair of places is asked about many times, and its answer depends on nothing else.
  const known = new Map<string, boolean>();
  const once = (key: string, decide: () => boolean): boolean => {
    context.spend(unitsPerPair);
    let answer = known.get(key);
    if (answer === undefined) known.set(key, (answer = decide()));
    return answer;
  };
  const match = (a: Token, b: Token): boolean => overlap(a, b, context);

  const normal = (i: number, j: number): boolean =>
    once(`n${i},${j}`, () => {
      let [a, b] = [i, j];
      for (; a < size(0) && b < size(1); a += 1, b += 1) {
        const [one, other] = [token(0, a), token(1, b)];
        if (one.flag === '+') return plus(0, a, b);
        if (one.flag === '*') return star(0, a, b);
        if (other.flag === '+') return plus(1, b, a);
        if (other.flag === '*') return star(1, b, a);
        if (!match(one, other)) return false;
      }
      return a === size(0) && b === size(1);
    });
  const both = (side: number, at: number, other: number): boolean =>
    side === 0 ? normal(at, other) : normal(other, at);

  const plus = (side: number, at: number, other: number): boolean => {
    const [one, first] = [token(side, at), token(1 - side, other)];
    if (!match(one, first)) return false;
    if (star(side, at, other + 1)) return true;
    return first.flag !== '' && both(side, at + 1, other);
  };

  const star = (side: number, at: number, other: number): boolean =>
    once(`s${side},${at},${other}`, () => {
      const starred = token(side, at);
      const after = at + 1 < size(side) ? token(side, at + 1) : undefined;
      for (let place = other; place < size(1 - side); place += 1) {
        const each = token(1 - side, place);
        if (after && match(each, after) && both(side, at + 1, place)) return true;
        if (!match(each, starred)) return false;
      }
      return after === undefined;
    });

  return normal(0, 0);
}

/** What is left when plain tokens that match are taken from both ends, but for one each; undefined if some do not. */
function trim(
  left: readonly Token[],
  right: readonly Token[],
  match: (a: Token, b: Token) => boolean,
): readonly [number, number, number] | undefined {
  const isPlain = (a?: Token, b?: Token): boolean => a?.flag === '' && b?.flag === '';
  let start = 0;
  for (; isPlain(left[start], right[start]); start += 1)
    if (!match(left[start] as Token, right[start] as Token)) return undefined;
  if (start > 0) start -= 1;
  let [i, j] = [left.length - 1, right.length - 1];
  for (; i >= start && j >= start && isPlain(left[i], right[j]); i -= 1, j -= 1)
    if (!match(left[i] as Token, right[j] as Token)) return undefined;
  if (i < left.length - 1) {
    i += 1;
    j += 1;
  }
  return [start, i + 1, j + 1];
}

/** Any character matches any set, even one of none, as in OPA. */
function overlap(a: Token, b: Token, context: BuiltinContext): boolean {
  const [one, other] = [a.ranges, b.ranges];
  context.spend(unitsPerComparison * (1 + (one?.length ?? 0) + (other?.length ?? 0)) * 0.25);
  if (!one || !other) return true;
  for (let i = 0, j = 0; i < one.length && j < other.length; ) {
    const [[low, high], [from, to]] = [one[i] as [number, number], other[j] as [number, number]];
    if (low <= to && from <= high) return true;
    if (high < to) i += 1;
    else j += 1;
  }
  return false;
}
