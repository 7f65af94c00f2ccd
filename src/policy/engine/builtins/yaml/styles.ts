import { resolve } from './scalars.ts';

export type Style = 'plain' | 'single' | 'double' | 'literal';

const breaks = /[\r\n\u0085\u2028\u2029]/;
/** What go-yaml's emitter does not print as it is. */
const special = /[^\t\n -~\u00a0-\ud7ff\ue000-\ufefe\uff00-\ufffd]/;
/** YAML 1.1 takes these for booleans, and for numbers of base 60. */
const oldBoolean = /^(?:y|Y|yes|Yes|YES|on|On|ON|n|N|no|No|NO|off|Off|OFF)$/;
const base60 = /^[-+]?\d[\d_]*(?::[0-5]?\d)+(?:\.[\d_]*)?$/;
const timestamp = /^\d{4}-/;

/** How go-yaml writes a text: plain if it reads back as the same, literal if it has lines. */
export function styleOf(text: string, isKey: boolean): Style {
  const hasBreaks = breaks.test(text);
  const hasSpecial = special.test(text);
  const breakSpace = /[\r\n\u0085\u2028\u2029] /.test(text);
  const spaceBreak = / [\r\n\u0085\u2028\u2029]/.test(text);
  if (text.includes('\n')) {
    const isLiteral = !isKey && !text.endsWith(' ') && !spaceBreak && !hasSpecial;
    return isLiteral ? 'literal' : 'double';
  }
  if (isKey && hasBreaks) return 'double';
  if (!isPlainText(text)) return 'double';
  const isPlain =
    text === '' ? !isKey : !hasBreaks && !/^ | $/.test(text) && !/\t/.test(text) && !hasIndicators(text);
  if (isPlain && !hasSpecial) return 'plain';
  return breakSpace || spaceBreak || hasSpecial || text.includes('\t') ? 'double' : 'single';
}

/** Whether no reader takes it for anything but text. */
function isPlainText(text: string): boolean {
  return resolve(text).tag === 'str' && !oldBoolean.test(text) && !base60.test(text) && !isTimestamp(text);
}

const timestampForm =
  /^\d{4}-\d\d?-\d\d?(?:[Tt]\d\d?:\d\d?:\d\d?(?:[.,]\d+)?(?:Z|[-+]\d\d:\d\d)| +\d\d?:\d\d?:\d\d?(?:[.,]\d+)?)?$/;

export function isTimestamp(text: string): boolean {
  return timestamp.test(text) && timestampForm.test(text);
}

function hasIndicators(text: string): boolean {
  if (/^(?:---|\.\.\.)/.test(text)) return true;
  return /^[#,[\]{}&*!|>'"%@`]|^[?:-](?:[ \t]|$)|:(?:[ \t]|$)|[ \t\r\n\u0085\u2028\u2029\0]#/.test(text);
}

/** @param indent of the lines of what has several */
export function writeText(text: string, style: Style, indent: string): string {
  if (style === 'plain') return text;
  if (style === 'single')
    return `'${text.replaceAll("'", "''").replace(/([\u2028\u2029]+)(?=[^\u2028\u2029])/g, `$1${indent}`)}'`;
  return style === 'literal' ? writeLiteral(text, indent) : writeDouble(text);
}

function writeLiteral(text: string, indent: string): string {
  const hint = /^[ \n\u2028\u2029]/.test(text) ? '2' : '';
  const end = /[\n\u2028\u2029]$/.test(text) ? (/^.?$|[\n\u2028\u2029].$/s.test(text) ? '+' : '') : '-';
  const lines = text
    .replace(/[\n\u2028\u2029]$/, '')
    .replace(/(^|[\n\u2028\u2029])(?=[^\n\u2028\u2029])/g, `$1${indent}`);
  return `|${hint}${end}\n${lines}`;
}

const escapes: Readonly<Record<string, string>> = {
  '\0': '\\0',
  '\x07': '\\a',
  '\b': '\\b',
  '\t': '\\t',
  '\n': '\\n',
  '\v': '\\v',
  '\f': '\\f',
  '\r': '\\r',
  '\x1b': '\\e',
  '"': '\\"',
  '\\': '\\\\',
  '\u0085': '\\N',
  '\u2028': '\\L',
  '\u2029': '\\P',
};

function writeDouble(text: string): string {
  // Behind a byte order mark at the beginning go-yaml takes each character for one.
  const isAllSpecial = text.startsWith('\ufeff');
  const inner = Array.from(text, (character) => {
    const escape = escapes[character];
    if (escape !== undefined) return escape;
    if (!special.test(character) && !isAllSpecial) return character;
    if (character === '\u00a0') return '\\_';
    const point = character.codePointAt(0) ?? 0;
    const [mark, digits] =
      point <= 0xff ? (['x', 2] as const) : point <= 0xffff ? (['u', 4] as const) : (['U', 8] as const);
    return `\\${mark}${point.toString(16).toUpperCase().padStart(digits, '0')}`;
  });
  return `"${inner.join('')}"`;
}
