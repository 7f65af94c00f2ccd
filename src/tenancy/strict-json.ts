const [QUOTE, BACKSLASH, COLON] = [0x22, 0x5c, 0x3a];
const [OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY] = [0x7b, 0x7d, 0x5b, 0x5d];

/**
 * Looks at JSON text before it is parsed. Throws SyntaxError for what JSON.parse would take: a member twice, half a
 * surrogate pair, what nests deeper than `depth`. Linear.
 */
export function checkStrict(text: string, depth: number): void {
  /** The names of each object that is open; undefined for an array. */
  const open: (Set<string> | undefined)[] = [];
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charCodeAt(at);
    if (char === OPEN_OBJECT || char === OPEN_ARRAY) {
      if (open.length === depth) throw new SyntaxError('it nests too deep');
      open.push(char === OPEN_OBJECT ? new Set() : undefined);
    } else if (char === CLOSE_OBJECT || char === CLOSE_ARRAY) open.pop();
    else if (char === QUOTE) {
      const end = endOfString(text, at);
      const value = stringAt(text, at, end);
      if (!value.isWellFormed()) throw new SyntaxError('it holds half a surrogate pair');
      const names = open.at(-1);
      if (names && isName(text, end)) {
        if (names.has(value)) throw new SyntaxError('a member stands twice');
        names.add(value);
      }
      at = end - 1;
    }
  }
}

function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text.charCodeAt(at) !== QUOTE) at += text.charCodeAt(at) === BACKSLASH ? 2 : 1;
  return at + 1;
}

/** What stands there without an escape is its own value, and whether it may stand there JSON.parse says later. */
function stringAt(text: string, start: number, end: number): string {
  const inner = text.slice(start + 1, end - 1);
  return inner.includes('\\') || end > text.length ? (JSON.parse(text.slice(start, end)) as string) : inner;
}

/** Whether a colon follows. */
function isName(text: string, end: number): boolean {
  let at = end;
  while (/[ \t\n\r]/.test(text[at] ?? '')) at += 1;
  return text.charCodeAt(at) === COLON;
}
