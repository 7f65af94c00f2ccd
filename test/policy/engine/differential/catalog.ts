import {
  arrayOf,
  either,
  type Generator,
  integer,
  number,
  objectOf,
  of,
  scalar,
  setOf,
  text,
  value,
} from './draw.ts';

const any: Generator = (draw) => value(draw);
const texts = either(arrayOf(text), setOf(text));
const numbers = either(arrayOf(number), setOf(number), arrayOf(integer, 8));
const collection = either(arrayOf(any), setOf(any), arrayOf(scalar, 8));
const set = either(setOf(any), setOf(scalar, 6));
const sets = setOf(setOf(scalar));
const simpleKey = of('a', 'b', 'c', '', '0', '1', 1, null, 'a/b', '~');
const tree: Generator = (draw) =>
  draw.chance(3)
    ? scalar(draw)
    : draw.one([
        objectOf(simpleKey, tree, 3),
        objectOf(simpleKey, tree, 3),
        arrayOf(tree, 3),
        setOf(tree, 2),
      ])(draw);
const object = either(objectOf(simpleKey, tree), objectOf(text, any), objectOf(any, any));
const document = objectOf(simpleKey, tree);
const path = either(
  of('', '/', 'a', 'a/b', '/a/b/c', 'a/0', '0', '1/a', '//a', 'a~1b', '~0', 'b/1'),
  arrayOf(simpleKey, 3),
);
const paths = either(arrayOf(path), setOf(path));
const keys = either(arrayOf(simpleKey), setOf(simpleKey), objectOf(simpleKey, scalar), arrayOf(any));
const node = of('a', 'b', 'c', 'd', 1, null);
const graph = objectOf(node, either(arrayOf(node), setOf(node), scalar), 6);
const nodes = either(arrayOf(node), setOf(node));
const small: Generator = (draw) => draw.below(60) - 10;
const base = of(2, 8, 10, 16, 10, 16, 3, 0);

/** The arguments that suit each built-in; a call now and then has others. */
export const catalog: Readonly<Record<string, readonly Generator[]>> = {
  abs: [number],
  all: [either(arrayOf(of(true, true, 1, false)), collection)],
  and: [set, set],
  any: [either(arrayOf(of(true, false, 'a')), collection)],
  'array.concat': [arrayOf(any), arrayOf(any)],
  'array.flatten': [arrayOf(any)],
  'array.reverse': [arrayOf(any)],
  'array.slice': [arrayOf(scalar, 8), integer, integer],
  'base64.decode': [text],
  'base64.encode': [text],
  'base64.is_valid': [text],
  'base64url.decode': [text],
  'base64url.encode': [text],
  'base64url.encode_no_pad': [text],
  'bits.and': [number, number],
  'bits.lsh': [number, small],
  'bits.negate': [number],
  'bits.or': [number, number],
  'bits.rsh': [number, integer],
  'bits.xor': [number, number],
  cast_array: [collection],
  cast_boolean: [scalar],
  cast_null: [scalar],
  cast_object: [any],
  cast_set: [collection],
  cast_string: [scalar],
  ceil: [number],
  concat: [text, texts],
  contains: [text, text],
  count: [any],
  div: [number, number],
  endswith: [text, text],
  equal: [any, any],
  floor: [number],
  format_int: [number, base],
  'graph.reachable': [graph, nodes],
  'graph.reachable_paths': [graph, nodes],
  gt: [any, any],
  gte: [scalar, scalar],
  'hex.decode': [text],
  'hex.encode': [text],
  indexof: [text, text],
  indexof_n: [text, text],
  'internal.member_2': [scalar, either(arrayOf(scalar), setOf(scalar), objectOf(scalar, scalar))],
  'internal.member_3': [scalar, scalar, either(arrayOf(scalar), setOf(scalar), objectOf(scalar, scalar))],
  intersection: [sets],
  is_array: [any],
  is_boolean: [any],
  is_null: [any],
  is_number: [any],
  is_object: [any],
  is_set: [any],
  is_string: [any],
  'json.filter': [document, paths],
  'json.is_valid': [text],
  'json.marshal': [any],
  'json.remove': [document, paths],
  'json.unmarshal': [text],
  lower: [text],
  lt: [any, any],
  lte: [scalar, scalar],
  max: [collection],
  min: [collection],
  minus: [either(number, set), either(number, set)],
  mul: [number, number],
  neq: [scalar, scalar],
  'numbers.range': [small, small],
  'numbers.range_step': [small, small, integer],
  'object.filter': [object, keys],
  'object.get': [object, either(simpleKey, arrayOf(simpleKey, 3)), scalar],
  'object.keys': [object],
  'object.remove': [object, keys],
  'object.subset': [either(object, set, arrayOf(scalar)), either(object, set, arrayOf(scalar))],
  'object.union': [document, document],
  'object.union_n': [arrayOf(document)],
  or: [set, set],
  plus: [number, number],
  product: [numbers],
  rem: [number, number],
  replace: [text, text, text],
  round: [number],
  set_diff: [set, set],
  sort: [collection],
  split: [text, text],
  startswith: [text, text],
  'strings.any_prefix_match': [either(text, texts), either(text, texts)],
  'strings.any_suffix_match': [either(text, texts), either(text, texts)],
  'strings.count': [text, text],
  'strings.replace_n': [objectOf(text, text), text],
  'strings.reverse': [text],
  'strings.split_n': [text, text, integer],
  substring: [text, integer, integer],
  sum: [numbers],
  to_number: [text],
  trim: [text, text],
  trim_left: [text, text],
  trim_prefix: [text, text],
  trim_right: [text, text],
  trim_space: [text],
  trim_suffix: [text, text],
  type_name: [any],
  union: [sets],
  upper: [text],
  walk: [any],
};
