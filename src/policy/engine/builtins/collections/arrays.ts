import { isArray, type Value } from '../../values/values.ts';
import { array, type BuiltinContext, type BuiltinTable, count } from '../builtin.ts';

/** Fuel units of an element that is copied. */
const unitsPerElement = 40;

function paid(elements: readonly Value[], context: BuiltinContext): readonly Value[] {
  context.spend(elements.length * unitsPerElement);
  return elements;
}

export const arrayBuiltins: BuiltinTable = {
  'array.concat': ([first, second], context) =>
    paid(array(first), context).concat(paid(array(second), context)),
  'array.flatten': ([elements], context) =>
    paid(array(elements), context).flatMap((element) =>
      isArray(element) ? paid(element, context) : [element],
    ),
  'array.reverse': ([elements], context) => paid(array(elements), context).toReversed(),
  'array.slice': ([elements, from, to], context) => {
    const all = array(elements);
    const [start, stop] = [Math.max(count(from), 0), Math.max(count(to), 0)];
    return paid(all.slice(start, Math.max(stop, start)), context);
  },
};
