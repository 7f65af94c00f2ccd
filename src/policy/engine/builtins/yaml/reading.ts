import { isAlias, isMap, isScalar, isSeq, type Node, Scalar, type YAMLMap } from 'yaml';
import { largestDepth } from '../../values/parse.ts';
import { decodeUtf8 } from '../../values/utf8.ts';
import { RegoObject, type Value } from '../../values/values.ts';
import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import { decodeBase64 } from '../data/base64.ts';
import { type Resolved, resolve, resolveAs, toKey, toValue } from './scalars.ts';
import { parseStream } from './stream.ts';
import { isTimestamp } from './styles.ts';

/** Fuel units of a value, and per character of a text, which aliases can repeat. */
const unitsPerValue = 2_500;
const unitsPerTextCharacter = 4;

/** What libyaml's reader refuses. */
const forbidden = /[^\t\n\r -~\u0085\u00a0-\ud7ff\ue000-\ufffd\ud800-\udfff]/;

/** @throws BuiltinError */
export function checkCharacters(text: string): void {
  if (forbidden.test(text)) throw new BuiltinError('control characters are not allowed');
}

/**
 * The first document's value, as OPA reads it with go-yaml: all documents must be well formed, of equal keys the last
 * stays, and keys are text.
 * @throws BuiltinError
 */
export function readYaml(source: string, context: BuiltinContext): Value {
  checkCharacters(source);
  const documents = parseStream(source);
  const reader = new Reader(source, context);
  for (const document of documents) reader.link(document.contents, 0);
  const [first] = documents;
  return first?.contents ? reader.value(first.contents, 0) : null;
}

const corePrefix = 'tag:yaml.org,2002:';
const coreTags = new Set(['null', 'bool', 'int', 'float', 'timestamp']);

class Reader {
  readonly #source: string;
  readonly #context: BuiltinContext;
  readonly #anchors = new Map<string, Node>();
  readonly #targets = new Map<Node, Node>();
  /** Aliases that are being read: one within itself has no end. */
  readonly #active = new Set<Node>();
  #count = 0;
  #aliased = 0;
  #aliasDepth = 0;

  constructor(source: string, context: BuiltinContext) {
    this.#source = source;
    this.#context = context;
  }

  /** Finds what aliases stand for: the last anchor of the name before them. */
  link(node: unknown, depth: number): void {
    if (depth > largestDepth) throw new BuiltinError('nested too deeply');
    if (isAlias(node)) {
      const target = this.#anchors.get(node.source);
      if (!target) throw new BuiltinError('unknown anchor');
      this.#targets.set(node, target);
      return;
    }
    if (!isScalar(node) && !isMap(node) && !isSeq(node)) return;
    if (node.anchor !== undefined) {
      if (!/^[\w-]+$/.test(node.anchor)) throw new BuiltinError('not the name of an anchor');
      this.#anchors.set(node.anchor, node);
    }
    if (isSeq(node)) for (const item of node.items) this.link(item, depth + 1);
    if (isMap(node))
      for (const { key, value } of node.items) {
        this.link(key, depth + 1);
        this.link(value, depth + 1);
      }
  }

  value(node: unknown, depth: number): Value {
    this.#pay();
    if (depth > largestDepth) throw new BuiltinError('nested too deeply');
    if (isAlias(node)) return this.#alias(node, (target) => this.value(target, depth + 1));
    if (isSeq(node)) return node.items.map((item) => this.value(item, depth + 1));
    if (isMap(node)) {
      const entries = new Map<string, Value>();
      this.#mapping(node, entries, depth);
      return new RegoObject(entries);
    }
    // Nothing at all is a null.
    return isScalar(node) ? this.#scalar(node) : null;
  }

  /** As go-yaml counts: aliases may stand for so much of what is read, and for less of what is large. */
  #pay(): void {
    this.#context.spend(unitsPerValue);
    this.#count += 1;
    if (this.#aliasDepth > 0) this.#aliased += 1;
    const [low, high] = [400_000, 4_000_000];
    const allowed = 0.99 - 0.89 * Math.min(Math.max((this.#count - low) / (high - low), 0), 1);
    if (this.#aliased > 100 && this.#count > 1_000 && this.#aliased / this.#count > allowed)
      throw new BuiltinError('document contains excessive aliasing');
  }

  #alias<T>(alias: Node, read: (target: Node) => T): T {
    const target = this.#targets.get(alias);
    if (!target || this.#active.has(alias)) throw new BuiltinError('an anchor contains itself');
    this.#active.add(alias);
    this.#aliasDepth += 1;
    const result = read(target);
    this.#aliasDepth -= 1;
    this.#active.delete(alias);
    return result;
  }

  /** As it was written; the value may be what the parser made of a tag. */
  #text(node: Scalar): string {
    const text = node.source ?? '';
    this.#context.spend(text.length * unitsPerTextCharacter);
    const isBlock = node.type === Scalar.BLOCK_LITERAL || node.type === Scalar.BLOCK_FOLDED;
    // A last line without its end has none in the text either.
    const isCut = isBlock && node.range?.[1] === this.#source.length && !this.#source.endsWith('\n');
    return isCut ? text.replace(/\n$/, '') : text;
  }

  #scalar(node: Scalar): Value {
    const text = this.#text(node);
    // OPA goes through JSON, which has no bytes.
    if (tagOf(node) === 'binary') return decodeUtf8(decodeBase64(text)).toWellFormed();
    return toValue(resolvedOf(node, text));
  }

  /** @param taken keys that are not to be written any more: a merged mapping is behind those of the mapping itself */
  #mapping(
    node: YAMLMap,
    entries: Map<string, Value>,
    depth: number,
    taken?: Set<string>,
    isRaw = false,
  ): void {
    const merged: unknown[] = [];
    const own = new Map<string, { readonly name: string; readonly value: unknown }>();
    const aliases = new Set<string>();
    const nulls = new Set<string>();
    let isText = true;
    for (const { key, value } of node.items) {
      if (isScalar(key) && isMerge(key)) {
        if (isSeq(value)) merged.push(...value.items);
        else merged.push(value);
        continue;
      }
      if (isAlias(key) && aliases.has(key.source)) throw new BuiltinError('a key is already defined');
      if (isAlias(key)) aliases.add(key.source);
      const resolved = this.#key(key);
      if (resolved.tag !== 'str') isText = false;
      if (resolved.tag === 'null' && isScalar(key)) {
        if (nulls.has(this.#text(key))) throw new BuiltinError('a key is already defined');
        nulls.add(this.#text(key));
      }
      // What is merged into a mapping of texts has its keys as they are written, and no null.
      if (isRaw && resolved.tag === 'null') continue;
      const id = toKey(resolved);
      if (id === undefined) throw new BuiltinError('null is no key');
      // What looks like a time is compared before it is taken for text, and may not be there twice.
      const before = own.get(id);
      if (before && isScalar(key) && key.type === Scalar.PLAIN && isTimestamp(id))
        throw new BuiltinError('a key is already defined');
      // Of equal keys the first stays with the value of the last; the other values are not looked at.
      const name = before?.name ?? (isRaw && isScalar(key) ? this.#text(key) : id);
      own.set(id, { name, value });
    }
    const closed = taken ?? new Set<string>();
    for (const { name, value } of own.values())
      if (!taken?.has(name)) entries.set(name, this.value(value, depth + 1));
    for (const { name } of own.values()) closed.add(name);
    for (const source of merged) this.#merge(source, entries, depth + 1, closed, taken ? isRaw : isText);
  }

  #merge(
    source: unknown,
    entries: Map<string, Value>,
    depth: number,
    taken: Set<string>,
    isRaw: boolean,
  ): void {
    this.#pay();
    if (isAlias(source))
      this.#alias(source, (target) => {
        if (!isMap(target)) throw new BuiltinError('only maps are merged');
        this.#mapping(target, entries, depth, taken, isRaw);
      });
    else if (isMap(source)) this.#mapping(source, entries, depth, taken, isRaw);
    else throw new BuiltinError('only maps are merged');
  }

  #key(node: unknown): Resolved {
    this.#pay();
    if (isAlias(node)) return this.#alias(node, (target) => this.#key(target));
    if (node === null) return { tag: 'null', value: null };
    if (!isScalar(node)) throw new BuiltinError('a key that is no scalar');
    const text = this.#text(node);
    if (tagOf(node) === 'binary') return { tag: 'str', value: decodeUtf8(decodeBase64(text)) };
    return resolvedOf(node, text);
  }
}

/** Of the core schema without its prefix; undefined for none, and for one that says nothing. */
function tagOf({ tag }: Node): string | undefined {
  if (tag === undefined || tag === '!') return undefined;
  return tag.startsWith(corePrefix) ? tag.slice(corePrefix.length) : tag;
}

function isMerge(key: Scalar): boolean {
  const tag = tagOf(key);
  return key.source === '<<' && (tag === 'merge' || (tag === undefined && key.type === Scalar.PLAIN));
}

function resolvedOf(node: Scalar, text: string): Resolved {
  const tag = tagOf(node);
  const isQuoted = node.type !== undefined && node.type !== Scalar.PLAIN;
  if (tag === undefined) return isQuoted ? { tag: 'str', value: text } : resolve(text);
  // A tag of another schema leaves the text as it is.
  return coreTags.has(tag) && tag !== 'timestamp' ? resolveAs(tag, text) : { tag: 'str', value: text };
}
