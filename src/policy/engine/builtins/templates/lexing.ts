import { type BuiltinContext, BuiltinError } from '../builtin.ts';

/** A token of a template (Go's text/template/parse). */
export interface Token {
  readonly kind: Kind;
  readonly text: string;
}

export type Kind =
  | 'text'
  | 'left'
  | 'right'
  | 'space'
  | 'assign'
  | 'declare'
  | 'pipe'
  | 'open'
  | 'close'
  | 'char'
  | 'constant'
  | 'string'
  | 'raw'
  | 'variable'
  | 'field'
  | 'dot'
  | 'nil'
  | 'bool'
  | 'number'
  | 'identifier'
  | 'keyword'
  | 'end';

const keywords = /^(?:block|break|continue|define|else|end|if|range|template|with)$/;
const unitsPerToken = 800;
const unitsPerCharacter = 20;

/** Within an action, each at the place where the lexer stands. */
const patterns: readonly (readonly [Kind, RegExp])[] = [
  ['space', /[ \t\r\n]+/y],
  ['declare', /:=/y],
  ['assign', /=/y],
  ['pipe', /\|/y],
  ['open', /\(/y],
  ['close', /\)/y],
  ['string', /"(?:[^"\\\n]|\\[^\n])*"/y],
  ['raw', /`[^`]*`/y],
  ['constant', /'(?:[^'\\\n]|\\[^\n])*'/y],
  ['variable', /\$[_\p{L}\p{Nd}]*/uy],
  ['field', /\.[_\p{L}][_\p{L}\p{Nd}]*/uy],
  ['number', /[+-]?\.?\d[\w.]*(?:(?<=[eEpP])[+-][\w]*)*/y],
  ['dot', /\./y],
  ['identifier', /[_\p{L}][_\p{L}\p{Nd}]*/uy],
  ['char', /[!-~]/y],
];

/** What may be behind a name. */
const terminator = /[ \t\r\n.,|:)(]|\}\}|$/y;

/** @throws BuiltinError for what is no template */
export function tokensOf(source: string, context: BuiltinContext): Token[] {
  context.spend(source.length * unitsPerCharacter);
  const tokens: Token[] = [];
  let at = 0;
  let trims = false;
  while (at < source.length) {
    const open = source.indexOf('{{', at);
    const end = open < 0 ? source.length : open;
    const trimsBefore = open >= 0 && /^-[ \t\r\n]/.test(source.slice(open + 2, open + 4));
    let text = source.slice(at, end);
    if (trims) text = text.replace(/^[ \t\r\n]+/, '');
    if (trimsBefore) text = trimEnd(text);
    if (text !== '') tokens.push({ kind: 'text', text });
    if (open < 0) break;
    const start = open + (trimsBefore ? 3 : 2);
    // A comment may stand right behind the mark's blank.
    const comment = source.startsWith('/*', start)
      ? start
      : trimsBefore && source.startsWith('/*', start + 1)
        ? start + 1
        : -1;
    const action = comment >= 0 ? skipComment(source, comment) : readAction(source, start, tokens, context);
    at = action.at;
    trims = action.trims;
  }
  tokens.push({ kind: 'end', text: '' });
  return tokens;
}

/** By a scan: a regular expression would look at each blank within. */
function trimEnd(text: string): string {
  let end = text.length;
  while (end > 0 && ' \t\r\n'.includes(text.charAt(end - 1))) end -= 1;
  return text.slice(0, end);
}

interface Behind {
  readonly at: number;
  /** Whether blanks that follow are left out. */
  readonly trims: boolean;
}

/** Where an action ends, if it does there. */
function closing(source: string, at: number): Behind | undefined {
  if (source.startsWith('}}', at)) return { at: at + 2, trims: false };
  return /^[ \t\r\n]-\}\}/.test(source.slice(at, at + 4)) ? { at: at + 4, trims: true } : undefined;
}

function skipComment(source: string, at: number): Behind {
  const end = source.indexOf('*/', at + 2);
  if (end < 0) throw new BuiltinError('unclosed comment');
  const behind = closing(source, end + 2);
  if (!behind) throw new BuiltinError('comment ends before closing delimiter');
  return behind;
}

function readAction(source: string, start: number, tokens: Token[], context: BuiltinContext): Behind {
  tokens.push({ kind: 'left', text: '{{' });
  let depth = 0;
  for (let at = start; ; ) {
    context.spend(unitsPerToken);
    const behind = closing(source, at);
    if (behind) {
      if (depth > 0) throw new BuiltinError('unclosed left paren');
      tokens.push({ kind: 'right', text: '}}' });
      return behind;
    }
    if (at >= source.length) throw new BuiltinError('unclosed action');
    let { kind, text } = match(source, at);
    if (kind === 'open') depth += 1;
    if (kind === 'close') depth -= 1;
    if (depth < 0) throw new BuiltinError('unexpected right paren');
    // Of blanks before `-}}` the last one is the mark's.
    if (kind === 'space' && closing(source, at + text.length - 1)?.trims) text = text.slice(0, -1);
    at += text.length;
    if (kind === 'variable' || kind === 'field' || kind === 'identifier') {
      terminator.lastIndex = at;
      if (!terminator.test(source)) throw new BuiltinError('bad character');
    }
    if (kind === 'identifier') kind = kindOf(text);
    if (text !== '') tokens.push({ kind, text });
  }
}

function kindOf(word: string): Kind {
  if (keywords.test(word)) return 'keyword';
  if (word === 'nil') return 'nil';
  return word === 'true' || word === 'false' ? 'bool' : 'identifier';
}

function match(source: string, at: number): Token {
  for (const [kind, pattern] of patterns) {
    pattern.lastIndex = at;
    const text = pattern.exec(source)?.[0];
    if (text === undefined) continue;
    if (kind === 'char' && '"`\'+-:'.includes(text)) break;
    return { kind, text };
  }
  throw new BuiltinError('unrecognized character in action');
}
