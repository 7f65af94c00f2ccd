import { isArray, isNumber, numberText, RegoObject, RegoSet, type Value } from '../../values/values.ts';
import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import { namedEntries } from '../data/json.ts';
import { formatFloat } from '../numbers/floats.ts';
import { sortedByKey } from './keys.ts';
import { checkCharacters } from './reading.ts';
import { resolve } from './scalars.ts';
import { styleOf, writeText } from './styles.ts';

/** Fuel units of a value that is written, per level above it, and per character of a text. */
const unitsPerValue = 6_000;
const unitsPerLevel = 400;
const unitsPerCharacter = 40;

/** As go-yaml writes what OPA made JSON of first: block style, two spaces a level, keys in its order. */
export function writeYaml(value: Value, context: BuiltinContext): string {
  const writer = new Writer(context);
  writer.node(value, 0, '');
  return writer.text;
}

class Writer {
  readonly #context: BuiltinContext;
  readonly #parts: string[] = [];

  constructor(context: BuiltinContext) {
    this.#context = context;
  }

  get text(): string {
    return this.#parts.join('');
  }

  /** @param lead what is between the indicator before it and a value that stays on its line */
  node(value: Value, depth: number, lead: string): void {
    this.#context.spend(unitsPerValue + depth * unitsPerLevel);
    if (isArray(value) || value instanceof RegoSet)
      this.#sequence(isArray(value) ? value : value.sorted(), depth, lead);
    else if (value instanceof RegoObject) this.#mapping(value, depth, lead);
    else this.#parts.push(lead, this.#scalar(value, depth), '\n');
  }

  #sequence(elements: readonly Value[], depth: number, lead: string): void {
    if (elements.length === 0) this.#parts.push(lead, '[]\n');
    for (const [index, element] of elements.entries()) {
      this.#parts.push(index === 0 ? lead : '  '.repeat(depth), '-');
      this.#nested(element, depth + 1);
    }
  }

  #mapping(object: RegoObject, depth: number, lead: string): void {
    const entries = sortedByKey(namedEntries(object, this.#context));
    if (entries.length === 0) this.#parts.push(lead, '{}\n');
    for (const [index, [name, value]] of entries.entries()) {
      const key = checkedKey(name);
      this.#parts.push(index === 0 ? lead : '  '.repeat(depth));
      // What is long or has lines is no simple key.
      const isSimple = Buffer.byteLength(key) <= 128 && !/[\r\n\u0085\u2028\u2029]/.test(key);
      if (isSimple) this.#parts.push(this.#text(key, depth, true), ':');
      else this.#parts.push('? ', this.#text(key, depth + 1, false), `\n${'  '.repeat(depth)}:`);
      if (isSimple && isBlock(value)) {
        this.#parts.push('\n');
        this.node(value, depth + 1, '  '.repeat(depth + 1));
      } else this.#nested(value, depth + 1);
    }
  }

  /** On the line of the indicator, also what has lines of its own. */
  #nested(value: Value, depth: number): void {
    this.node(value, depth, ' ');
  }

  #scalar(value: Value, depth: number): string {
    if (typeof value === 'string') return this.#text(foldBreaks(value), depth, false);
    if (isNumber(value)) return writeNumber(numberText(value));
    return value === null ? 'null' : String(value === true);
  }

  #text(text: string, depth: number, isKey: boolean): string {
    this.#context.spend(text.length * unitsPerCharacter);
    checkCharacters(text.replace(/(?![\u0080-\u009f])\p{Cc}/gu, ' '));
    return writeText(text, styleOf(text, isKey), '  '.repeat(Math.max(depth, 1)));
  }
}

function isBlock(value: Value): boolean {
  if (isArray(value)) return value.length > 0;
  return (value instanceof RegoObject || value instanceof RegoSet) && value.size > 0;
}

/** A key of the JSON that goes on in another line is none to go-yaml. */
function checkedKey(name: string): string {
  if (name.includes('\u0085')) throw new BuiltinError('a key of more than one line');
  return name;
}

/** A next line (U+0085) is a line break where go-yaml reads the JSON: one alone becomes a space. */
function foldBreaks(text: string): string {
  return text.replace(/ *((?:\u0085 *)+)/g, (_, breaks: string) => {
    const count = breaks.split('\u0085').length - 1;
    return count === 1 ? ' ' : '\n'.repeat(count - 1);
  });
}

/** As go-yaml reads and then writes it. */
function writeNumber(text: string): string {
  const resolved = resolve(text);
  if (resolved.tag === 'int') return String(resolved.value);
  return resolved.tag === 'float' ? formatFloat(resolved.value, 'g', undefined) : text;
}
