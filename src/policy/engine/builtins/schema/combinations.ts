import { RegoObject, type Value } from '../../values/values.ts';
import type { SchemaNode } from './node.ts';
import type { Outcome, Place } from './outcome.ts';
import type { Validator } from './validate.ts';

/** Schemas that apply to the same value. */
export function validateCombinations(
  validator: Validator,
  node: SchemaNode,
  value: Value,
  outcome: Outcome,
  place: Place,
): void {
  validateAnyOf(validator, node.anyOf ?? [], value, outcome, place);
  validateOneOf(validator, node.oneOf ?? [], value, outcome, place);
  const all = (node.allOf ?? []).map((schema) => {
    const judged = validator.judge(schema, value, place);
    outcome.merge(judged);
    return judged.isValid;
  });
  if (all.includes(false)) outcome.add('number_all_of', place, 'Must validate all the schemas (allOf)');
  if (node.not && validator.judge(node.not, value, place).isValid)
    outcome.add('number_not', place, 'Must not validate the schema (not)');
  validateDependencies(validator, node, value, outcome, place);
  validateCondition(validator, node, value, outcome, place);
  outcome.score += 1;
}

function better(best: Outcome | undefined, other: Outcome): Outcome {
  return best === undefined || other.score > best.score ? other : best;
}

function validateAnyOf(
  validator: Validator,
  schemas: readonly SchemaNode[],
  value: Value,
  outcome: Outcome,
  place: Place,
): void {
  if (schemas.length === 0) return;
  let best: Outcome | undefined;
  for (const schema of schemas) {
    const judged = validator.judge(schema, value, place);
    if (judged.isValid) return;
    best = better(best, judged);
  }
  outcome.add('number_any_of', place, 'Must validate at least one schema (anyOf)');
  if (best) outcome.merge(best);
}

function validateOneOf(
  validator: Validator,
  schemas: readonly SchemaNode[],
  value: Value,
  outcome: Outcome,
  place: Place,
): void {
  if (schemas.length === 0) return;
  let valid = 0;
  let best: Outcome | undefined;
  for (const schema of schemas) {
    const judged = validator.judge(schema, value, place);
    if (judged.isValid) valid += 1;
    else if (valid === 0) best = better(best, judged);
  }
  if (valid === 1) return;
  outcome.add('number_one_of', place, 'Must validate one and only one schema (oneOf)');
  if (valid === 0 && best) outcome.merge(best);
}

function validateDependencies(
  validator: Validator,
  { dependencies }: SchemaNode,
  value: Value,
  outcome: Outcome,
  place: Place,
): void {
  if (!dependencies || !(value instanceof RegoObject)) return;
  for (const [name, dependency] of dependencies) {
    if (value.get(name) === undefined) continue;
    if (!isNames(dependency)) validator.validate(dependency, value, outcome, place);
    else {
      validator.context.spend(dependency.length * 300);
      for (const each of dependency)
        if (value.get(each) === undefined)
          outcome.add('missing_dependency', place, `Has a dependency on ${each}`);
    }
  }
}

const isNames = (dependency: readonly string[] | SchemaNode): dependency is readonly string[] =>
  Array.isArray(dependency);

function validateCondition(
  validator: Validator,
  node: SchemaNode,
  value: Value,
  outcome: Outcome,
  place: Place,
): void {
  if (!node.if) return;
  const isMet = validator.judge(node.if, value, place).isValid;
  const consequence = isMet ? node.then : node.else;
  const judged = consequence && validator.judge(consequence, value, place);
  if (!judged || judged.isValid) return;
  if (isMet) outcome.add('condition_then', place, 'Must validate "then" as "if" was valid');
  else outcome.add('condition_else', place, 'Must validate "else" as "if" was not valid');
  outcome.merge(judged);
}
