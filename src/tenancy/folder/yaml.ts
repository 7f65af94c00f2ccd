import {
  type Document,
  isMap,
  isNode,
  isScalar,
  isSeq,
  LineCounter,
  type ParsedNode,
  parseDocument,
  visit,
} from 'yaml';

/** YAML that is not taken. `line` counts from 1; 0 where unknown. */
export class YamlInvalid extends Error {
  readonly line: number;

  constructor(problem: string, line = 0) {
    super(problem);
    this.line = line;
  }
}

/** YAML 1.2 section 5.1: what is printable. The library takes a quadratic time over what is not. */
const UNPRINTABLE = /[^\t\n\r\u0020-\u007e\u0085\u00a0-\ufffd\u{10000}-\u{10ffff}]/u;

/**
 * Parses one document of YAML 1.2, in time that grows with its length alone: the library looks for a key that stands
 * twice among all keys before it, and draws the place of each of its errors, so neither is left to it.
 * @throws YamlInvalid
 */
export const readYaml = (text: string, options: YamlOptions): unknown => readLined(text, options).value;

interface YamlOptions {
  readonly maxAliasCount: number;
  readonly exact: boolean;
}

/** Where something stands in a document, from 1; 0 where unknown. Of what is not there: what it would stand in. */
export type LineOf = (path: readonly PropertyKey[]) => number;

/** The same, with the lines of what it says. */
export function readLined(
  text: string,
  { maxAliasCount, exact }: YamlOptions,
): { readonly value: unknown; readonly lineOf: LineOf } {
  const unprintable = text.search(UNPRINTABLE);
  if (unprintable >= 0)
    throw new YamlInvalid(
      'a character that YAML does not have',
      text.slice(0, unprintable).split('\n').length,
    );
  const lines = new LineCounter();
  const document = parseDocument(text, {
    uniqueKeys: false,
    prettyErrors: false,
    lineCounter: lines,
    logLevel: 'silent',
    // Numbers are only as exact as their reader wants them.
    intAsBigInt: exact,
    merge: exact,
  });
  const [error] = document.errors;
  if (error) throw invalid(error.message, lines, error.pos[0]);
  refuseTwins(document, lines);
  try {
    return { value: document.toJS({ maxAliasCount }), lineOf: (path) => lineIn(document, lines, path) };
  } catch (cause) {
    throw new YamlInvalid((cause as Error).message);
  }
}

function lineIn(document: Document<ParsedNode>, lines: LineCounter, path: readonly PropertyKey[]): number {
  let [node, line]: [unknown, number] = [document.contents, 0];
  for (const name of path) {
    const [at, next] = memberOf(node, name);
    if (!isNode(at)) break;
    line = lines.linePos(at.range?.[0] ?? 0).line;
    node = next;
  }
  return line;
}

/** What says where a member begins, and its value. */
function memberOf(node: unknown, name: PropertyKey): readonly [unknown, unknown] {
  if (isSeq(node)) return [node.items[Number(name)], node.items[Number(name)]];
  const pair =
    isMap(node) && node.items.find(({ key }) => isScalar(key) && String(key.value) === String(name));
  return pair ? [pair.key, pair.value] : [undefined, undefined];
}

function invalid(problem: string, lines: LineCounter, at: number): YamlInvalid {
  const { line, col } = lines.linePos(at);
  return new YamlInvalid(`${problem} at line ${line}, column ${col}`, line);
}

/** Which of two values is meant nobody can say. */
function refuseTwins(document: Document<ParsedNode>, lines: LineCounter): void {
  visit(document, {
    Map: (_, map) => {
      if (!isMap(map)) return;
      const seen = new Set<string>();
      for (const { key } of map.items) {
        if (!isScalar(key)) continue;
        const name = String(key.value);
        if (seen.has(name) && name !== '<<')
          throw invalid('Map keys must be unique', lines, key.range?.[0] ?? 0);
        seen.add(name);
      }
    },
  });
}
