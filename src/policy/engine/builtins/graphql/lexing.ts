import { type BuiltinContext, BuiltinError } from '../builtin.ts';

export type TokenKind =
  | 'end'
  | 'name'
  | 'int'
  | 'float'
  | 'string'
  | 'block'
  | 'comment'
  | '!'
  | '$'
  | '&'
  | '('
  | ')'
  | '...'
  | ':'
  | '='
  | '@'
  | '['
  | ']'
  | '{'
  | '}'
  | '|';

export interface Token {
  readonly kind: TokenKind;
  readonly value: string;
}

const unitsPerToken = 1_500;
const unitsPerCharacter = 120;

const blank = /[\t\r\n ,\ufeff]+/y;
const name = /[_A-Za-z][_0-9A-Za-z]*/y;
const number = /-?(?:0(?!\d)|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?/y;
const punctuation = /\.\.\.|[!$&():=@[\]{}|]/y;
const comment = /#[\t -\uffff]*/y;

/** A lexer of GraphQL (October 2021 section 2.1, with braced escapes), as gqlparser reads it. */
export class Lexer {
  readonly #source: string;
  readonly #context: BuiltinContext;
  #at = 0;

  constructor(source: string, context: BuiltinContext) {
    this.#source = source;
    this.#context = context;
    context.spend(source.length * unitsPerCharacter);
  }

  /** @throws BuiltinError for what is no token */
  next(): Token {
    this.#context.spend(unitsPerToken);
    this.#skipBlanks();
    if (this.#at >= this.#source.length) return this.#token('end', '', 0);
    if (this.#source.startsWith('"""', this.#at)) return this.#block();
    if (this.#source[this.#at] === '"') return this.#string();
    const mark = this.#match(punctuation);
    if (mark !== undefined) return this.#token(mark as TokenKind, '', mark.length);
    const word = this.#match(name);
    if (word !== undefined) return this.#token('name', word, word.length);
    const note = this.#match(comment);
    if (note !== undefined) return this.#token('comment', note, note.length);
    number.lastIndex = this.#at;
    const found = number.exec(this.#source);
    if (!found) throw new BuiltinError('unexpected character');
    const [digits, fraction, exponent] = found;
    const behind = this.#source.slice(this.#at + digits.length, this.#at + digits.length + 1);
    // What begins a part must have one.
    if (
      (behind === '.' && fraction === undefined && exponent === undefined) ||
      (/[eE]/.test(behind) && exponent === undefined)
    )
      throw new BuiltinError('invalid number');
    return this.#token(
      fraction === undefined && exponent === undefined ? 'int' : 'float',
      digits,
      digits.length,
    );
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    return pattern.exec(this.#source)?.[0];
  }

  #skipBlanks(): void {
    const skipped = this.#match(blank);
    this.#at += skipped?.length ?? 0;
  }

  #token(kind: TokenKind, value: string, length: number): Token {
    this.#at += length;
    return { kind, value };
  }

  #string(): Token {
    let value = '';
    let at = this.#at + 1;
    for (;;) {
      const unit = this.#source.charAt(at);
      if (unit === '"') return this.#token('string', value, at + 1 - this.#at);
      if (unit === '' || (unit < ' ' && unit !== '\t')) throw new BuiltinError('unterminated string');
      if (unit !== '\\') {
        value += unit;
        at += 1;
        continue;
      }
      const { text, length } = escapeAt(this.#source.slice(at, at + 12), at + 7 > this.#source.length);
      value += text;
      at += length;
    }
  }

  /** Of quotes in a row the last three end it. */
  #block(): Token {
    let at = this.#at + 3;
    let raw = '';
    for (;;) {
      const unit = this.#source.charAt(at);
      if (unit === '') throw new BuiltinError('unterminated string');
      if (unit < ' ' && !/[\t\n\r]/.test(unit)) throw new BuiltinError('invalid character');
      if (this.#source.startsWith('\\"""', at)) {
        raw += '"""';
        at += 4;
      } else if (this.#source.startsWith('"""', at)) {
        let quotes = 3;
        while (this.#source[at + quotes] === '"') quotes += 1;
        raw += '"'.repeat(quotes - 3);
        return this.#token('block', blockValue(raw), at + quotes - this.#at);
      } else {
        raw += unit === '\r' ? '\n' : unit;
        at += unit === '\r' && this.#source[at + 1] === '\n' ? 2 : 1;
      }
    }
  }
}

const simpleEscapes: Readonly<Record<string, string>> = {
  '"': '"',
  '/': '/',
  '\\': '\\',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

function escapeAt(text: string, isAtEnd: boolean): { text: string; length: number } {
  const letter = text.charAt(1);
  const simple = Object.hasOwn(simpleEscapes, letter) ? simpleEscapes[letter] : undefined;
  if (simple !== undefined) return { text: simple, length: 2 };
  const braced = /^\\u\{([0-9a-fA-F]{1,8})\}/.exec(text);
  if (braced) {
    const point = Number.parseInt(braced[1] ?? '', 16);
    if (point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) throw new BuiltinError('no character');
    return { text: String.fromCodePoint(point), length: braced[0].length };
  }
  const plain = /^\\u([0-9a-fA-F]{4})(?:\\u([dD][c-fC-F][0-9a-fA-F]{2}))?/.exec(text);
  if (!plain || isAtEnd) throw new BuiltinError('invalid escape');
  const unit = Number.parseInt(plain[1] ?? '', 16);
  const isPair = plain[2] !== undefined && unit >= 0xd800 && unit < 0xdc00;
  if (isPair) return { text: String.fromCharCode(unit, Number.parseInt(plain[2] ?? '', 16)), length: 12 };
  // Half of a pair is no character of Go's.
  return { text: unit >= 0xd800 && unit < 0xe000 ? '\ufffd' : String.fromCharCode(unit), length: 6 };
}

/** BlockStringValue() of the specification: without common indentation, and without blank lines at both ends. */
function blockValue(raw: string): string {
  const lines = raw.split('\n');
  const indents = lines.map((line) => line.search(/[^ \t]/));
  const common = Math.min(...indents.filter((indent) => indent >= 0), Number.MAX_SAFE_INTEGER);
  const cut = lines.map((line, at) =>
    at > 0 && common < Number.MAX_SAFE_INTEGER ? line.slice(common) : line,
  );
  const isBlank = (line: string): boolean => !/[^ \t]/.test(line);
  let [start, end] = [0, cut.length];
  while (start < end && isBlank(cut[start] ?? '')) start += 1;
  while (end > start && isBlank(cut[end - 1] ?? '')) end -= 1;
  return cut.slice(start, end).join('\n');
}
