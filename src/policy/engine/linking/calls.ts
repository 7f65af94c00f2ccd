/**
 * What a linked module asks its host for, by number: the built-ins it imports itself count from 0, and these from
 * here on. All go through OPA's imports `opa_builtin0` to `opa_builtin4`.
 */
export const firstRouted = 1 << 20;
export const firstService = 1 << 21;

/** Services of the runtime, which are about addresses and 32-bit numbers instead of values. */
export const service = {
  /** Two numbers: -1, 0 or 1. */
  compareNumbers: firstService,
  /** A number: its hash. */
  hashNumber: firstService + 1,
  /** The element of an array at an index that is a number written as text: its address, or 0. */
  element: firstService + 2,
  /** Sorts members (address of the key, address of the value) by their keys: the address of the first, how many. */
  sortMembers: firstService + 3,
  /** Two objects, or two sets: -1, 0 or 1. */
  compareCollections: firstService + 4,
} as const;

/**
 * The function that OPA's runtime has for a built-in, and the built-in: each is the host's instead. From
 * builtinsFunctions in internal/compiler/wasm/wasm.go (v1.22). The runtime's own are C code that differs from OPA's
 * evaluator in a hundred places. What is not here stays in the module: comparisons, types, `count`, `in`, `object.get`,
 * `&`, `|`, `array.concat`, `startswith`, `endswith` and `contains`, which are right there (the differential tests hold
 * that) and so short or so frequent that a call of the host would count.
 */
export const routes: Readonly<Record<string, string>> = {
  opa_arith_plus: 'plus',
  opa_arith_minus: 'minus',
  opa_arith_multiply: 'mul',
  opa_arith_divide: 'div',
  opa_arith_abs: 'abs',
  opa_arith_round: 'round',
  opa_arith_ceil: 'ceil',
  opa_arith_floor: 'floor',
  opa_arith_rem: 'rem',
  opa_array_flatten: 'array.flatten',
  opa_array_reverse: 'array.reverse',
  opa_array_slice: 'array.slice',
  opa_sets_intersection: 'intersection',
  opa_sets_union: 'union',
  opa_bits_or: 'bits.or',
  opa_bits_and: 'bits.and',
  opa_bits_negate: 'bits.negate',
  opa_bits_xor: 'bits.xor',
  opa_bits_shiftleft: 'bits.lsh',
  opa_bits_shiftright: 'bits.rsh',
  opa_agg_sum: 'sum',
  opa_agg_product: 'product',
  opa_agg_max: 'max',
  opa_agg_min: 'min',
  opa_agg_sort: 'sort',
  opa_agg_all: 'all',
  opa_agg_any: 'any',
  opa_base64_is_valid: 'base64.is_valid',
  opa_base64_decode: 'base64.decode',
  opa_base64_encode: 'base64.encode',
  opa_base64_url_encode: 'base64url.encode',
  opa_base64_url_decode: 'base64url.decode',
  opa_cidr_contains: 'net.cidr_contains',
  opa_cidr_intersects: 'net.cidr_intersects',
  opa_glob_match: 'glob.match',
  opa_json_marshal: 'json.marshal',
  opa_json_unmarshal: 'json.unmarshal',
  opa_json_is_valid: 'json.is_valid',
  builtin_object_filter: 'object.filter',
  builtin_object_keys: 'object.keys',
  builtin_object_remove: 'object.remove',
  builtin_object_union: 'object.union',
  builtin_object_union_n: 'object.union_n',
  opa_strings_concat: 'concat',
  opa_strings_format_int: 'format_int',
  opa_strings_indexof: 'indexof',
  opa_strings_substring: 'substring',
  opa_strings_lower: 'lower',
  opa_strings_upper: 'upper',
  opa_strings_reverse: 'strings.reverse',
  opa_strings_split: 'split',
  opa_strings_replace: 'replace',
  opa_strings_replace_n: 'strings.replace_n',
  opa_strings_trim: 'trim',
  opa_strings_trim_left: 'trim_left',
  opa_strings_trim_prefix: 'trim_prefix',
  opa_strings_trim_right: 'trim_right',
  opa_strings_trim_suffix: 'trim_suffix',
  opa_strings_trim_space: 'trim_space',
  opa_template_string: 'internal.template_string',
  opa_numbers_range: 'numbers.range',
  opa_to_number: 'to_number',
  opa_value_transitive_closure: 'walk',
  builtin_graph_reachable: 'graph.reachable',
  opa_regex_is_valid: 'regex.is_valid',
  opa_regex_match: 'regex.match',
  opa_regex_find_all_string_submatch: 'regex.find_all_string_submatch_n',
  builtin_json_remove: 'json.remove',
  builtin_json_filter: 'json.filter',
};

/** The number of each routed built-in counts from `firstRouted` in this order. */
export const routed: readonly string[] = Object.values(routes);
