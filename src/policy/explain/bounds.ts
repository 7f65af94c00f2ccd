/** What explaining one decision may take, and what of it is shown. */
export const bounds = {
  /** By the wall clock, of all that OPA runs for it. */
  totalMs: 5_000,
  /** Of each of them. */
  runMs: 2_500,
  /** Of one rule's trace: a body of a rule is some events of three kilobytes each. */
  traceBytes: 32 * 1024 * 1024,
  /** Of one that has to be parsed whole. */
  wholeBytes: 4 * 1024 * 1024,
  /** Of address space that OPA may have: a trace is kept in memory until its end. */
  memoryKib: 2 * 1024 * 1024,
  /** Calls of rules by rules. */
  depth: 6,
  bodies: 50,
  rules: 200,
  values: 12,
  /** Terms of an expression that are looked at for them. */
  tries: 64,
  valueCharacters: 200,
  textCharacters: 400,
  /** Members of a set that a body gave. */
  gave: 10,
  /** A place further to the right is in no line that a person wrote. */
  column: 4_000,
  /** Files whose syntax is looked at. */
  files: 32,
} as const;

export const clipped = (text: string, most: number): string =>
  text.length <= most ? text : `${text.slice(0, most)}… (${text.length} characters)`;

/** Text on one line, whitespace around its line breaks left out. */
export const inOneLine = (text: string, most: number): string =>
  clipped(text.slice(0, most * 4).replace(/[ \t\r]{0,64}\n[ \t\r]{0,64}/g, ' '), most);

/** JSON of a value, cut as soon as it is long: what is written costs no more than what is shown. */
export function shown(value: unknown, most: number = bounds.valueCharacters): string {
  const writing = { text: '', most };
  write(value, writing, 0);
  return writing.text.length <= most ? writing.text : `${writing.text.slice(0, most)}…`;
}

interface Writing {
  text: string;
  readonly most: number;
}

function write(value: unknown, to: Writing, depth: number): void {
  if (to.text.length > to.most) return;
  if (depth > 16) to.text += '…';
  else if (typeof value === 'string') to.text += JSON.stringify(value.slice(0, to.most + 1));
  else if (Array.isArray(value)) writeAll(value, '[', ']', to, (each) => write(each, to, depth + 1));
  else if (typeof value === 'object' && value !== null)
    writeAll(Object.keys(value), '{', '}', to, (name) => {
      to.text += `${JSON.stringify(name.slice(0, to.most + 1))}:`;
      write((value as Record<string, unknown>)[name], to, depth + 1);
    });
  else to.text += String(value);
}

function writeAll<T>(
  all: readonly T[],
  open: string,
  close: string,
  to: Writing,
  each: (one: T) => void,
): void {
  to.text += open;
  for (const [at, one] of all.entries()) {
    if (to.text.length > to.most) return;
    if (at > 0) to.text += ',';
    each(one);
  }
  to.text += close;
}
