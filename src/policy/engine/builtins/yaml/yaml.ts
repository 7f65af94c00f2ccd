import type { Value } from '../../values/values.ts';
import { any, type BuiltinContext, BuiltinError, type BuiltinTable, text } from '../builtin.ts';
import { readYaml } from './reading.ts';
import { writeYaml } from './writing.ts';

/** Fuel units of a call, and per character of a document; the parser makes several objects for each. Measured. */
const unitsPerCall = 16_000;
const unitsPerCharacter = 3_000;

export const yamlBuiltins: BuiltinTable = {
  'yaml.is_valid': ([value], context) => {
    if (typeof value !== 'string') return false;
    try {
      read(value, context);
      return true;
    } catch (error) {
      if (error instanceof BuiltinError) return false;
      throw error;
    }
  },
  'yaml.marshal': ([value], context) => {
    context.spend(unitsPerCall);
    return writeYaml(any(value), context);
  },
  'yaml.unmarshal': ([value], context) => read(text(value), context),
};

function read(source: string, context: BuiltinContext): Value {
  context.spend(unitsPerCall + source.length * unitsPerCharacter);
  return readYaml(source, context);
}
