import { type Document, isScalar, Lexer, parseAllDocuments } from 'yaml';
import { BuiltinError } from '../builtin.ts';

/**
 * The documents of a text, all well formed, to libyaml too, which is stricter than the parser here: it knows YAML 1.1.
 * @throws BuiltinError
 */
export function parseStream(written: string): Document.Parsed[] {
  // A carriage return alone ends a line too.
  const source = written.replace(/\r(?!\n)/g, '\n');
  checkStart(source);
  if (/^ *\t/m.test(source)) checkTabs(source);
  const documents = parse(source);
  for (const [index, { contents, directives, errors, warnings }] of documents.entries()) {
    // A document behind the first begins with a marker; an end may be there twice.
    if (index > 0 && !isNothing(contents) && !directives.docStart)
      throw new BuiltinError('expected a document start');
    if (errors.some(({ code, message }) => !isLenient(code, message))) throw new BuiltinError('not YAML');
    if (warnings.some(({ code }) => code === 'BAD_DIRECTIVE')) throw new BuiltinError('unknown directive');
  }
  return documents;
}

function isNothing(contents: unknown): boolean {
  return (
    contents === null || (isScalar(contents) && (contents.range?.[0] ?? 0) === (contents.range?.[1] ?? 0))
  );
}

/** Tags are resolved elsewhere, but for one whose handle was not declared; a document may end twice. */
function isLenient(code: string, message: string): boolean {
  if (code === 'TAG_RESOLVE_FAILED') return !message.startsWith('Could not resolve tag');
  return message.startsWith('Unexpected doc-end without preceding document');
}

function parse(source: string): Document.Parsed[] {
  try {
    // Keys that are unique would each be compared with all others.
    const options = {
      schema: 'failsafe',
      uniqueKeys: false,
      logLevel: 'silent',
      prettyErrors: false,
    } as const;
    const documents = parseAllDocuments(source, options);
    if (endsInDirective(source)) throw new BuiltinError('a directive without a document');
    return [...documents];
  } catch (cause) {
    // Nested too deeply for a parser that calls itself.
    if (cause instanceof RangeError) throw new BuiltinError('not YAML', { cause });
    throw cause;
  }
}

/** Behind a document's end, or at the beginning, with no document behind it. */
function endsInDirective(source: string): boolean {
  if (!/^%/m.test(source)) return false;
  const lines = source.split('\n');
  let isDirective = false;
  for (let line = lines.pop(); line !== undefined; line = lines.pop()) {
    if (line.startsWith('%')) isDirective = true;
    else if (!/^\s*(?:#.*)?$/.test(line)) return isDirective && /^\.\.\.(?:\s|$)/.test(line);
  }
  return isDirective;
}

/** The end of a document that never began. */
function checkStart(source: string): void {
  const [first = ''] = /^(?!\s*(?:#|$)).*$/m.exec(source.replace(/^\ufeff/, '')) ?? [];
  if (/^\.\.\.(?:\s|$)/.test(first)) throw new BuiltinError('a document end without a document');
}

/** No token begins with a tab, outside of brackets and of texts that go over several lines. */
function checkTabs(source: string): void {
  let [depth, isLineStart] = [0, true];
  for (const token of new Lexer().lex(source)) {
    if (isLineStart && depth === 0 && /^ *\t/.test(token))
      throw new BuiltinError('a tab where a token may begin');
    if (token === '{' || token === '[') depth += 1;
    else if (token === '}' || token === ']') depth = Math.max(depth - 1, 0);
    isLineStart = /^\r?\n$/.test(token) || (isLineStart && /^ *$/.test(token));
  }
}
