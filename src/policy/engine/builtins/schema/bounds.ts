import { isNumber, type RegoNumber, type RegoObject, type Value } from '../../values/values.ts';
import { int64In, integerIn } from '../builtin.ts';
import { isPositive } from './members.ts';
import { cannotBeGreater, invalidType, mustBeOfA, mustBeOfAn, SchemaError } from './messages.ts';
import type { SchemaNode } from './node.ts';
import { hybrid } from './pool.ts';

/** The keywords that bound a size or a number, those of one kind of value. */
export function readBounds(
  document: RegoObject,
  node: SchemaNode,
  kind: 'number' | 'string' | 'object' | 'array',
): void {
  if (kind === 'number') readNumbers(document, node);
  else if (kind === 'string') readSizes(document, node, 'minLength', 'maxLength');
  else if (kind === 'object') readSizes(document, node, 'minProperties', 'maxProperties');
  else {
    readSize(document, node, 'minItems');
    readSize(document, node, 'maxItems');
    const unique = document.get('uniqueItems');
    if (unique === undefined) return;
    if (typeof unique !== 'boolean') throw mustBeOfA('uniqueItems', 'boolean');
    node.uniqueItems = unique;
  }
}

function readNumbers(document: RegoObject, node: SchemaNode): void {
  const multiple = document.get('multipleOf');
  if (multiple !== undefined) {
    if (!isNumber(multiple)) throw invalidType('Number', 'multipleOf');
    if (!isPositive(multiple)) throw new SchemaError('multipleOf must be strictly greater than 0');
    node.multipleOf = multiple;
  }
  readBound(document, node, 'minimum', 'exclusiveMinimum');
  readBound(document, node, 'maximum', 'exclusiveMaximum');
}

/** What excludes is a boolean in draft 4, a number from 6 on, and either where no draft is named. */
function readBound(
  document: RegoObject,
  node: SchemaNode,
  name: 'minimum' | 'maximum',
  exclusiveName: 'exclusiveMinimum' | 'exclusiveMaximum',
): void {
  const bound = document.get(name);
  if (bound !== undefined) {
    if (!isNumber(bound)) throw mustBeOfA(name, 'Number');
    node[name] = bound;
  }
  const exclusive = document.get(exclusiveName);
  if (exclusive === undefined) return;
  const { draft } = node;
  const mayBeBoolean = draft === 4 || draft === hybrid;
  if (isNumber(exclusive) && draft !== 4) node[exclusiveName] = exclusive;
  else if (typeof exclusive === 'boolean' && mayBeBoolean) exclude(node, exclusive, name, exclusiveName);
  else throw invalidType(draft === 4 ? 'boolean' : mayBeBoolean ? 'boolean/number' : 'number', exclusiveName);
}

function exclude(
  node: SchemaNode,
  exclusive: boolean,
  name: 'minimum' | 'maximum',
  exclusiveName: 'exclusiveMinimum' | 'exclusiveMaximum',
): void {
  const bound: RegoNumber | undefined = node[name];
  if (bound === undefined) throw new SchemaError(`${exclusiveName} cannot be used without ${name}`);
  if (!exclusive) return;
  node[exclusiveName] = bound;
  node[name] = undefined;
}

type Size = 'minLength' | 'maxLength' | 'minProperties' | 'maxProperties' | 'minItems' | 'maxItems';

function readSizes(document: RegoObject, node: SchemaNode, least: Size, most: Size): void {
  readSize(document, node, least);
  readSize(document, node, most);
  const [low, high] = [node[least], node[most]];
  if (low !== undefined && high !== undefined && low > high) throw cannotBeGreater(least, most);
}

/** An integer of 64 bits, written as one: 1.0 is none. */
function readSize(document: RegoObject, node: SchemaNode, name: Size): void {
  const given = document.get(name);
  if (given === undefined) return;
  const size = sizeOf(given);
  if (size === undefined) throw mustBeOfAn(name, 'integer');
  if (size < 0n) throw new SchemaError(`${name} must be greater than or equal to 0`);
  node[name] = size;
}

function sizeOf(value: Value): bigint | undefined {
  if (!isNumber(value)) return undefined;
  if (typeof value === 'number' || typeof value === 'bigint') return int64In(value);
  return value.text === '-0' ? integerIn(value) : undefined;
}
