/**
 * Looks at JSON text before it is parsed. Throws SyntaxError for what JSON.parse would take: a member twice, half a
 * surrogate pair, what nests deeper than `depth`. Linear.
 */
export function checkStrict(text: string, depth: number): void {
  /** The names of each object that is open; undefined for an array. */
  const open: (Set<string> | undefined)[] = [];
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at];
    if (char === '{' || char === '[') {
      if (open.length === depth) throw new SyntaxError('it nests too deep');
      open.push(char === '{' ? new Set() : undefined);
    } else if (char === '}' || char === ']') open.pop();
    else if (char === '"') {
      const end = endOfString(text, at);
      const value: unknown = JSON.parse(text.slice(at, end));
      if (!(value as string).isWellFormed()) throw new SyntaxError('it holds half a surrogate pair');
      const names = open.at(-1);
      if (names && isName(text, end)) {
        if (names.has(value as string)) throw new SyntaxError('a member stands twice');
        names.add(value as string);
      }
      at = end - 1;
    }
  }
}

function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at + 1;
}

/** Whether a colon follows. */
function isName(text: string, end: number): boolean {
  let at = end;
  while (/[ \t\n\r]/.test(text[at] ?? '')) at += 1;
  return text[at] === ':';
}
