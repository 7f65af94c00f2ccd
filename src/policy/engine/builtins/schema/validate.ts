import { isArray, isNumber, RegoObject, type Value } from '../../values/values.ts';
import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import { canonicalJson } from './canonical.ts';
import { validateCombinations } from './combinations.ts';
import { validateArray, validateObject } from './containers.ts';
import { isOfFormat } from './formats.ts';
import type { SchemaNode } from './node.ts';
import { Outcome, type Place } from './outcome.ts';
import { isInteger, validateNumber, validateText } from './scalars.ts';

/** Fuel units of a value that is held against a schema: measured, 1 µs. */
const unitsPerVisit = 3_000;
/** References go in circles that no document ends. */
const deepest = 1_000;

/** Holds values against schemas, as gojsonschema does: its order, its mistakes, and the scores by which it picks those. */
export class Validator {
  readonly context: BuiltinContext;
  #depth = 0;

  constructor(context: BuiltinContext) {
    this.context = context;
  }

  /** On its own. */
  judge(node: SchemaNode, value: Value, place: Place): Outcome {
    const outcome = new Outcome(this.context);
    this.validate(node, value, outcome, place);
    return outcome;
  }

  validate(node: SchemaNode, value: Value, outcome: Outcome, place: Place): void {
    this.context.spend(unitsPerVisit);
    this.#depth += 1;
    if (this.#depth > deepest) throw new BuiltinError('the schema is nested too deeply');
    if (node.pass === false) outcome.add('false', place, 'False always fails validation');
    else if (node.pass === undefined) {
      if (node.target) this.validate(node.target, value, outcome, place);
      else this.#validate(node, value, outcome, place);
    }
    this.#depth -= 1;
  }

  #validate(node: SchemaNode, value: Value, outcome: Outcome, place: Place): void {
    const given = typeOf(value);
    const isOfType = node.types.includes(given) || (given === 'integer' && node.types.includes('number'));
    if (node.types.length > 0 && !isOfType) {
      const [first = '', ...others] = node.types;
      const expected = others.length > 0 ? `[${node.types.join(',')}]` : first;
      outcome.add('invalid_type', place, `Invalid type. Expected: ${expected}, given: ${given}`);
      return;
    }
    validateCombinations(this, node, value, outcome, place);
    if (isArray(value)) validateArray(this, node, value, outcome, place);
    else if (value instanceof RegoObject) validateObject(this, node, value, outcome, place);
    else if (isNumber(value)) validateNumber(node, value, outcome, place);
    this.#validateCommon(node, value, outcome, place);
    if (value instanceof RegoObject)
      for (const [name, schema] of node.properties ?? []) {
        const inner = value.get(name);
        if (inner !== undefined) this.validate(schema, inner, outcome, { name, outer: place });
      }
    if (typeof value === 'string') validateText(this.context, node, value, outcome, place);
    outcome.score += 1;
  }

  #validateCommon(node: SchemaNode, value: Value, outcome: Outcome, place: Place): void {
    if (node.constant !== undefined && canonicalJson(value, this.context) !== node.constant)
      outcome.addAbout('const', place, `does not match: ${node.constant}`);
    if (node.enum !== undefined && !node.enum.has(canonicalJson(value, this.context))) {
      const all = [...node.enum];
      this.context.spend(all.reduce((sum, each) => sum + each.length + 20, 0));
      outcome.addAbout('enum', place, `must be one of the following: ${all.join(', ')}`);
    }
    if (node.format !== undefined && node.format !== '' && !isOfFormat(node.format, value, this.context))
      outcome.add('format', place, `Does not match format '${node.format}'`);
    outcome.score += 1;
  }
}

function typeOf(value: Value): string {
  if (value === null) return 'null';
  if (isNumber(value)) return isInteger(value) ? 'integer' : 'number';
  return isArray(value) ? 'array' : value instanceof RegoObject ? 'object' : typeof value;
}
