import { isArray, RegoObject, type Value } from '../../values/values.ts';
import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import { Reference } from '../net/references.ts';
import { compile as compilePattern } from '../regex/compiled.ts';
import { readArrays } from './arrays.ts';
import { readBounds } from './bounds.ts';
import { canonicalJson } from './canonical.ts';
import { isSchema, listIn, textIn } from './members.ts';
import { invalidType, mustBeOfAn, mustBeOfType, mustBeUnique, SchemaError } from './messages.ts';
import type { SchemaNode } from './node.ts';
import { type Draft, hybrid, SchemaPool } from './pool.ts';

/** Fuel units of a schema within one, whatever is in it: measured, 5 µs with its keywords looked up. */
const unitsPerSchema = 16_000;
/** References that lead to references are followed by recursion. */
const deepest = 400;

/** @throws SchemaError with gojsonschema's message */
export function compileSchema(document: Value, context: BuiltinContext): SchemaNode {
  const pool = new SchemaPool(context);
  const root = Reference.parse('', context);
  pool.add(document, root);
  return new Compiler(pool, context).compile(document, pool.draftOf(document) ?? hybrid, root);
}

const types = ['array', 'boolean', 'integer', 'number', 'null', 'object', 'string'];

export class Compiler {
  readonly #pool: SchemaPool;
  readonly context: BuiltinContext;
  readonly #targets = new Map<string, SchemaNode>();
  #root: SchemaNode | undefined;
  #depth = 0;

  constructor(pool: SchemaPool, context: BuiltinContext) {
    this.#pool = pool;
    this.context = context;
  }

  compile(
    document: Value,
    draft: Draft,
    id: Reference,
    into: SchemaNode = { draft, id, types: [] },
  ): SchemaNode {
    this.context.spend(unitsPerSchema);
    this.#depth += 1;
    if (this.#depth > deepest) throw new BuiltinError('the schema is nested too deeply');
    this.#root ??= into;
    this.#read(document, into);
    this.#depth -= 1;
    return into;
  }

  /** A schema within another. */
  child(document: Value, parent: SchemaNode): SchemaNode {
    return this.compile(document, parent.draft, parent.id);
  }

  #read(document: Value, node: SchemaNode): void {
    if (node.draft >= 6 && typeof document === 'boolean') {
      node.pass = document;
      return;
    }
    if (!(document instanceof RegoObject))
      throw new SchemaError('Expected: Valid Schema, given: Invalid JSON');
    this.#readId(document, node);
    this.#readDefinitions(document, node);
    textIn(document, 'title');
    textIn(document, 'description');
    if (this.#readReference(document, node)) return;
    this.#readTypes(document, node);
    this.#readProperties(document, node);
    readArrays(this, document, node);
    readBounds(document, node, 'number');
    readBounds(document, node, 'string');
    this.#readTexts(document, node);
    readBounds(document, node, 'object');
    this.#readRequired(document, node);
    readBounds(document, node, 'array');
    this.#readContains(document, node);
    this.#readValues(document, node);
    this.#readCombinations(document, node);
  }

  #readId(document: RegoObject, node: SchemaNode): void {
    const isOld = node.draft === 4 || (node.draft === hybrid && document.get('id') !== undefined);
    const id = textIn(document, isOld ? 'id' : '$id');
    if (id === undefined) return;
    const reference = Reference.parse(id, this.context);
    node.id = node === this.#root ? reference : node.id.resolve(reference, this.context);
  }

  #readDefinitions(document: RegoObject, node: SchemaNode): void {
    const definitions = document.get('definitions');
    if (definitions === undefined) return;
    if (!(definitions instanceof RegoObject)) throw invalidType('Array Of Schemas', 'definitions');
    for (const [, definition] of definitions.sorted()) {
      if (!isSchema(definition)) throw invalidType('Array Of Schemas', 'definitions');
      this.child(definition, node);
    }
  }

  /** True if that is all that counts. What a reference led to before is looked at with its neighbours again. */
  #readReference(document: RegoObject, node: SchemaNode): boolean {
    textIn(document, '$ref');
    const written = this.#pool.referenceOf(document);
    if (typeof written !== 'string') return false;
    const reference = Reference.parse(written, this.context);
    const known = this.#targets.get(reference.text);
    if (known) {
      node.target = known;
      return false;
    }
    const target: SchemaNode = { draft: node.draft, id: reference, types: [] };
    this.#targets.set(reference.text, target);
    const { document: found, draft } = this.#pool.find(reference);
    if (!isSchema(found)) throw mustBeOfType('Valid Schema', 'object');
    target.draft = draft ?? node.draft;
    this.compile(found, target.draft, reference, target);
    node.target = target;
    return true;
  }

  #readTypes(document: RegoObject, node: SchemaNode): void {
    const given = document.get('type');
    if (given === undefined) return;
    for (const type of isArray(given) ? given : [given]) {
      if (typeof type !== 'string') throw invalidType('type', 'string/Array Of Strings');
      if (!types.includes(type))
        throw new SchemaError(
          `has a primitive type that is NOT VALID -- given: /${type}/ Expected valid values are:[${types.join(' ')}]`,
        );
      if (node.types.includes(type)) throw new SchemaError(`${type} type is duplicated`);
      node.types.push(type);
    }
  }

  #readProperties(document: RegoObject, node: SchemaNode): void {
    const properties = document.get('properties');
    if (properties !== undefined) {
      if (!(properties instanceof RegoObject)) throw mustBeOfType('Properties', 'object');
      node.properties = this.#schemasIn(properties, node);
    }
    const additional = document.get('additionalProperties');
    if (additional !== undefined)
      node.additionalProperties = this.booleanOrSchema(additional, node, 'additionalProperties');
    const patterns = document.get('patternProperties');
    if (patterns !== undefined) {
      if (!(patterns instanceof RegoObject)) throw invalidType('Valid Schema', 'patternProperties');
      for (const [pattern] of patterns.sorted())
        this.#checkPattern(pattern as string, `Invalid regex pattern '${pattern as string}'`);
      node.patternProperties = this.#schemasIn(patterns, node);
    }
    const names = document.get('propertyNames');
    if (names !== undefined && node.draft >= 6) {
      if (!isSchema(names)) throw invalidType('Valid Schema', 'patternProperties');
      node.propertyNames = this.child(names, node);
    }
    this.#readDependencies(document, node);
  }

  #schemasIn(object: RegoObject, node: SchemaNode): Map<string, SchemaNode> {
    return new Map(object.sorted().map(([name, schema]) => [name as string, this.child(schema, node)]));
  }

  booleanOrSchema(given: Value, node: SchemaNode, name: string): boolean | SchemaNode {
    if (typeof given === 'boolean') return given;
    if (!(given instanceof RegoObject)) throw invalidType('boolean/Valid Schema', name);
    return this.child(given, node);
  }

  #readDependencies(document: RegoObject, node: SchemaNode): void {
    const given = document.get('dependencies');
    if (given === undefined) return;
    if (!(given instanceof RegoObject)) throw mustBeOfType('dependencies', 'object');
    const wrong = () => mustBeOfType('Dependency', 'Schema Or Array Of Strings');
    node.dependencies = new Map();
    for (const [name, dependency] of given.sorted()) {
      if (isArray(dependency)) {
        if (!dependency.every((each) => typeof each === 'string')) throw wrong();
        if (dependency.length > 0) node.dependencies.set(name as string, dependency);
      } else if (isSchema(dependency)) node.dependencies.set(name as string, this.child(dependency, node));
      else throw wrong();
    }
  }

  #readTexts(document: RegoObject, node: SchemaNode): void {
    const pattern = textIn(document, 'pattern');
    if (pattern !== undefined) {
      this.#checkPattern(pattern, 'pattern must be a valid regex');
      node.pattern = pattern;
    }
    const format = textIn(document, 'format');
    if (format !== undefined) node.format = format;
  }

  #checkPattern(pattern: string, message: string): void {
    try {
      compilePattern(pattern, this.context);
    } catch (error) {
      if (error instanceof BuiltinError) throw new SchemaError(message, { cause: error });
      throw error;
    }
  }

  #readRequired(document: RegoObject, node: SchemaNode): void {
    const required = listIn(document, 'required');
    if (required === undefined) return;
    node.required = new Set();
    for (const name of required) {
      if (typeof name !== 'string') throw invalidType('string', 'required');
      if (node.required.has(name)) throw mustBeUnique('required');
      node.required.add(name);
    }
  }

  #readContains(document: RegoObject, node: SchemaNode): void {
    const contains = document.get('contains');
    if (contains !== undefined && node.draft >= 6) node.contains = this.child(contains, node);
  }

  #readValues(document: RegoObject, node: SchemaNode): void {
    const constant = document.get('const');
    if (constant !== undefined && node.draft >= 6) node.constant = canonicalJson(constant, this.context);
    const members = listIn(document, 'enum');
    if (members === undefined) return;
    node.enum = new Set();
    for (const member of members) {
      const json = canonicalJson(member, this.context);
      if (node.enum.has(json)) throw mustBeUnique('enum');
      node.enum.add(json);
    }
  }

  #readCombinations(document: RegoObject, node: SchemaNode): void {
    for (const name of ['oneOf', 'anyOf', 'allOf'] as const) {
      const schemas = listIn(document, name);
      if (schemas !== undefined) node[name] = schemas.map((schema) => this.child(schema, node));
    }
    const single = node.draft >= 7 ? (['not', 'if', 'then', 'else'] as const) : (['not'] as const);
    for (const name of single) {
      const schema = document.get(name);
      if (schema === undefined) continue;
      if (!isSchema(schema)) throw mustBeOfAn(name, 'object');
      node[name] = this.child(schema, node);
    }
  }
}
