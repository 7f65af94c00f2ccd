import { type RegoObject, type Value } from '../../values/values.ts';
import { matchesPattern } from '../regex/regex.ts';
import { canonicalJson } from './canonical.ts';
import type { SchemaNode } from './node.ts';
import type { Outcome, Place } from './outcome.ts';
import type { Validator } from './validate.ts';

const unitsPerMember = 600;

export function validateArray(
  validator: Validator,
  node: SchemaNode,
  value: readonly Value[],
  outcome: Outcome,
  place: Place,
): void {
  validateItems(validator, node, value, outcome, place);
  const size = BigInt(value.length);
  if (node.minItems !== undefined && size < node.minItems)
    outcome.add('array_min_items', place, `Array must have at least ${node.minItems} items`);
  if (node.maxItems !== undefined && size > node.maxItems)
    outcome.add('array_max_items', place, `Array must have at most ${node.maxItems} items`);
  if (node.uniqueItems) validateUnique(validator, value, outcome, place);
  if (node.contains) validateContains(validator, node.contains, value, outcome, place);
  outcome.score += 1;
}

function validateItems(
  validator: Validator,
  { items, additionalItems }: SchemaNode,
  value: readonly Value[],
  outcome: Outcome,
  place: Place,
): void {
  if (items === undefined) return;
  const each = (schema: SchemaNode, from: number, to: number): void => {
    for (let at = from; at < to; at += 1)
      outcome.merge(validator.judge(schema, value[at] ?? null, { name: String(at), outer: place }));
  };
  if (!Array.isArray(items)) {
    each(items, 0, value.length);
    return;
  }
  for (const [at, schema] of items.slice(0, value.length).entries()) each(schema, at, at + 1);
  if (items.length === 0 || items.length >= value.length) return;
  if (additionalItems === false)
    outcome.add('array_no_additional_items', place, 'No additional items allowed on array');
  else if (typeof additionalItems === 'object') each(additionalItems, items.length, value.length);
}

function validateUnique(validator: Validator, value: readonly Value[], outcome: Outcome, place: Place): void {
  const found = new Map<string, number>();
  for (const [at, element] of value.entries()) {
    const json = canonicalJson(element, validator.context);
    const before = found.get(json);
    if (before !== undefined) outcome.add('unique', place, `array items[${before},${at}] must be unique`);
    found.set(json, at);
  }
}

function validateContains(
  validator: Validator,
  schema: SchemaNode,
  value: readonly Value[],
  outcome: Outcome,
  place: Place,
): void {
  let best: Outcome | undefined;
  for (const [at, element] of value.entries()) {
    const judged = validator.judge(schema, element, { name: String(at), outer: place });
    if (judged.isValid) return;
    if (best === undefined || judged.score > best.score) best = judged;
  }
  outcome.add('contains', place, 'At least one of the items must match');
  if (best) outcome.merge(best);
}

export function validateObject(
  validator: Validator,
  node: SchemaNode,
  value: RegoObject,
  outcome: Outcome,
  place: Place,
): void {
  validator.context.spend((value.size + (node.required?.size ?? 0)) * unitsPerMember);
  const size = BigInt(value.size);
  if (node.minProperties !== undefined && size < node.minProperties)
    outcome.add('array_min_properties', place, `Must have at least ${node.minProperties} properties`);
  if (node.maxProperties !== undefined && size > node.maxProperties)
    outcome.add('array_max_properties', place, `Must have at most ${node.maxProperties} properties`);
  for (const name of node.required ?? []) {
    if (value.get(name) !== undefined) outcome.score += 1;
    else outcome.add('required', place, `${name} is required`);
  }
  const names = value.sorted().map(([name, inner]) => [name as string, inner] as const);
  for (const [name, inner] of names) validateMember(validator, node, name, inner, outcome, place);
  for (const [name] of node.propertyNames ? names : []) {
    const judged = validator.judge(node.propertyNames as SchemaNode, name, place);
    if (judged.isValid) continue;
    outcome.add('invalid_property_name', place, `Property name of "${name}" does not match`);
    outcome.merge(judged);
  }
  outcome.score += 1;
}

/** What neither `properties` nor `patternProperties` describes must be as `additionalProperties` says. */
function validateMember(
  validator: Validator,
  { properties, patternProperties, additionalProperties }: SchemaNode,
  name: string,
  value: Value,
  outcome: Outcome,
  place: Place,
): void {
  let isDescribed = false;
  for (const [pattern, schema] of patternProperties ?? []) {
    if (!matchesPattern(pattern, name, validator.context)) continue;
    isDescribed = true;
    outcome.merge(validator.judge(schema, value, { name, outer: place }));
  }
  if (isDescribed) outcome.score += 1;
  if (isDescribed || properties?.has(name)) return;
  if (additionalProperties === false)
    outcome.add('additional_property_not_allowed', place, `Additional property ${name} is not allowed`);
  else if (typeof additionalProperties === 'object')
    outcome.merge(validator.judge(additionalProperties, value, { name, outer: place }));
}
