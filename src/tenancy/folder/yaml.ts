import { type Document, isMap, isScalar, LineCounter, type ParsedNode, parseDocument, visit } from 'yaml';

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
export function readYaml(
  text: string,
  { maxAliasCount, exact }: { maxAliasCount: number; exact: boolean },
): unknown {
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
    return document.toJS({ maxAliasCount });
  } catch (cause) {
    throw new YamlInvalid((cause as Error).message);
  }
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
