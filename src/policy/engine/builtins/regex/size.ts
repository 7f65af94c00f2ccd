/** How much a pattern compiles to, at most. */
export interface PatternSize {
  /** Instructions of its program. */
  readonly instructions: number;
  /** Classes of Unicode in it, each of hundreds of ranges. */
  readonly unicodeClasses: number;
}

/** Go refuses more repetitions, of one kind or nested ones together, so that what it refuses is read and no more. */
const mostRepetitions = 1_000;

interface Group {
  /** Of the sequence so far, and of its last piece, which a repetition is of. */
  total: number;
  last: number;
  /** The repetitions that are nested in the last piece, and in any. */
  lastRepeated: number;
  repeated: number;
}

const repetition = /\{(\d{1,9})(?:(,)(\d{0,9}))?\}/y;
const unicodeClass = /\\[pP]/g;

/**
 * An upper bound by one look at each character, before anything is built: `a{1000}` is a thousand instructions, and a
 * pattern of a few kilobytes could be millions. What is no regular expression is none of its concern.
 */
export function sizeOf(pattern: string): PatternSize {
  const groups: Group[] = [newGroup()];
  for (let at = 0; at < pattern.length; ) {
    const group = groups.at(-1) ?? newGroup();
    const mark = pattern[at];
    if (mark === '(') {
      groups.push(newGroup());
      at += 1;
    } else if (mark === ')' && groups.length > 1) {
      groups.pop();
      addPiece(groups.at(-1) ?? group, group.total + 3, group.repeated);
      at += 1;
    } else if (mark === '*' || mark === '+' || mark === '?') {
      repeat(group, 1, 2);
      at += 1;
    } else if (mark === '{') at = readRepetition(pattern, at, group);
    else at = readPiece(pattern, at, group);
  }
  const instructions = groups.reduce((sum, { total }) => sum + total + 3, 0);
  return { instructions, unicodeClasses: pattern.match(unicodeClass)?.length ?? 0 };
}

function newGroup(): Group {
  return { total: 0, last: 0, lastRepeated: 1, repeated: 1 };
}

function addPiece(group: Group, size: number, repeated: number): void {
  group.total += size;
  group.last = size;
  group.lastRepeated = repeated;
  group.repeated = Math.max(group.repeated, repeated);
}

function repeat(group: Group, times: number, extra: number): void {
  const repeated = group.lastRepeated * Math.max(times, 1);
  // The parser is going to refuse it.
  if (repeated > mostRepetitions) return;
  const size = group.last * Math.max(times, 1) + extra;
  group.total += size - group.last;
  group.last = size;
  group.lastRepeated = repeated;
  group.repeated = Math.max(group.repeated, repeated);
}

function readRepetition(pattern: string, at: number, group: Group): number {
  repetition.lastIndex = at;
  const found = repetition.exec(pattern);
  if (!found) {
    addPiece(group, 1, 1);
    return at + 1;
  }
  const [all, least = '', comma, most = ''] = found;
  const times = Math.max(Number(least), Number(most)) + (comma && most === '' ? 1 : 0);
  repeat(group, times, comma ? times + 2 : 0);
  return at + all.length;
}

/** A character, an escape, or a class. */
function readPiece(pattern: string, at: number, group: Group): number {
  if (pattern.startsWith('\\Q', at)) {
    const end = pattern.indexOf('\\E', at);
    const next = end < 0 ? pattern.length : end + 2;
    addPiece(group, next - at, 1);
    return next;
  }
  // Its last character is what is repeated, and escapes are longer than what they make.
  // An alternative that is empty is an instruction too.
  addPiece(group, pattern[at] === '|' ? 2 : 1, 1);
  if (pattern[at] === '\\') return at + 2;
  return pattern[at] === '[' ? endOfClass(pattern, at) : at + 1;
}

function endOfClass(pattern: string, start: number): number {
  // A bracket that comes first is a member.
  let at = start + (pattern[start + 1] === '^' ? 3 : 2);
  while (at < pattern.length && pattern[at] !== ']') {
    if (pattern[at] === '\\') at += 2;
    else if (pattern[at] === '[' && pattern[at + 1] === ':')
      at = Math.max(pattern.indexOf(':]', at) + 2, at + 1);
    else at += 1;
  }
  return at + 1;
}
