import { describe, expect, test } from 'vitest';
import { BuiltinError } from '../../../../src/policy/engine/builtins/builtin.ts';
import { hostBuiltins } from '../../../../src/policy/engine/builtins/index.ts';
import { numberOf } from '../../../../src/policy/engine/values/numbers.ts';
import { RegoObject, RegoSet, type Value } from '../../../../src/policy/engine/values/values.ts';
import { answerOf, answersOfOpa, textOf } from './compare.ts';

const set = (...members: Value[]) => new RegoSet(members);
const object = (entries: Readonly<Record<string, Value>>) => new RegoObject(Object.entries(entries));
const n = numberOf;

/** In base64. What it requests is a SET of extensions, no SEQUENCE. */
const requestOfASet =
  'MIGqMF4CAQAwDDEKMAgGA1UEAwwBcjAqMAUGAytlcAMhAIA48kA/B8SR6xrLIb1eoHnsYO6K4Dg0Ebm+h9C3ekFnoB8wHQYJKoZIhvcNAQkOMRCxDjAMBgNVHREEBTADggFhMAUGAytlcANBAI4tn2IA3BQdD7fKrrIfE1G3wxbr9LsONJbeHFvUUMIwMprmIBiSPh6crc1dsyw/dKag9AkZxIJ9vCaEdVjtcgE=';

/** What decided otherwise than OPA's evaluator: the answer is its type and its JSON. */
const edges: readonly (readonly [builtin: string, args: readonly Value[], answer: string])[] = [
  ['glob.match', ['secret$*', ['/'], 'secret$plan'], 'boolean true'],
  ['crypto.x509.parse_certificate_request', [requestOfASet], 'undefined'],
  ['glob.match', ['*', ['/', '-', ':'], '5'], 'boolean true'],
  ['glob.match', ['*', ['/', '-', ':'], 'a-b'], 'boolean false'],
  ['net.cidr_contains', ['10.0.0.0/8', '::ffff:10.1.2.3'], 'boolean true'],
  ['concat', [',', set('b', 'a')], 'string "a,b"'],
  ['json.marshal', [set('b', 'a', 10, 9)], 'string "[9,10,\\"a\\",\\"b\\"]"'],
  ['json.unmarshal', ['{"a":1}x'], 'undefined'],
  ['json.unmarshal', ['3garbage'], 'undefined'],
  ['json.unmarshal', ['"\\ud800"'], 'string "\ufffd"'],
  ['json.is_valid', ['1.'], 'boolean false'],
  ['json.is_valid', ['false'], 'boolean true'],
  ['replace', ['abc', '', '-'], 'string "-a-b-c-"'],
  ['format_int', [2_147_483_648, 10], 'string "2147483648"'],
  ['format_int', [4_294_967_295, 10], 'string "4294967295"'],
  ['format_int', [n('18446744073709551617'), 16], 'string "10000000000000001"'],
  ['base64.decode', ['YQ'], 'undefined'],
  ['base64.decode', [''], 'string ""'],
  ['base64.is_valid', ['UTC'], 'boolean false'],
  ['indexof', ['abc', ''], 'undefined'],
  ['to_number', ['007'], 'number 7'],
  ['to_number', ['-'], 'undefined'],
  ['to_number', ['1_000'], 'number 1000'],
  ['to_number', ['0x1p4'], 'number 16'],
  ['json.remove', [object({ a: 1 }), ['']], 'object {"a":1}'],
  ['object.union_n', [[]], 'object {}'],
  [
    'object.union_n',
    [[object({ a: object({ b: 2 }) }), object({ a: 4 }), object({ a: object({ c: 3 }) })]],
    'object {"a":{"c":3}}',
  ],
  ['bits.and', [n('3.0'), 2], 'number 2'],
  ['bits.rsh', [5, n('18446744073709551616')], 'number 5'],
  ['uuid.parse', ['(00000000-0000-4000-8000-000000000000)'], 'object {"variant":"RFC4122","version":4}'],
  ['time.format', [[0, 'Europe/Berlin', 'MST']], 'string "CET"'],
  ['time.format', [[n('1720000000000000000'), 'Europe/Berlin', 'MST']], 'string "CEST"'],
  ['time.format', [[0, 'europe/berlin']], 'undefined'],
  ['time.diff', [0, [0, 'No/Where']], 'undefined'],
  ['time.parse_ns', ['RFC850', 'Monday, 02-Jan-06 15:04:05 GMT-8'], 'number 1136214245000000000'],
  ['yaml.unmarshal', ['!!str 1'], 'string "1"'],
  ['yaml.unmarshal', ['a: 1\na: 2'], 'object {"a":2}'],
  ['yaml.unmarshal', ['0b11'], 'number 3'],
  ['yaml.unmarshal', ['%d'], 'undefined'],
  ['yaml.marshal', [object({ '': 1 })], 'string "\\"\\": 1\\n"'],
  ['sprintf', ['%5d', ['x y']], 'string "%!d(string=  x y)"'],
  ['strings.split_n', ['a,b,c', ',', n('9223372036854775807')], 'array ["a","b","c"]'],
  ['strings.split_n', ['a,b,c', ',', n('9223372036854775808')], 'undefined'],
  ['regex.find_n', ['a', 'aaa', 4_294_967_297], 'array ["a","a","a"]'],
  ['net.cidr_contains_matches', [[], '('], 'set []'],
  ['plus', [n('0.1'), n('0.2')], 'number 0.3'],
  ['plus', [n('9007199254740993'), 1], 'number 9007199254740994'],
  ['div', [1, 3], 'number 0.33333333333333333334'],
  ['div', [0, -5], 'number -0'],
  ['equal', [n('1.0'), 1], 'boolean true'],
  ['equal', [n('9007199254740993'), n('9007199254740992')], 'boolean false'],
  ['lt', [n('1e400'), n('1e401')], 'boolean true'],
  ['count', [set(1, n('1.0'), n('10e-1'))], 'number 1'],
  ['ceil', [n('-0.5')], 'number 1'],
  ['upper', ['straße'], 'string "STRASSE"'.replace('SS', 'ß')],
  [
    'walk',
    [object({ b: [1], a: set(2, 1) })],
    'array [[[],{"a":[1,2],"b":[1]}],[["a"],[1,2]],[["a",1],1],[["a",2],2],[["b"],[1]],[["b",0],1]]',
  ],
  ['object.get', [object({ a: null }), 'a', 1], 'null null'],
  ['internal.member_3', [n('0.0'), 'a', ['a']], 'boolean true'],
];

describe('where the module’s built-ins and ours were wrong', () => {
  test.each(
    edges.map(([builtin, args, answer]) => [textOf({ builtin, args }), answer, builtin, args] as const),
  )('%s is %s', (_, answer, builtin, args) => {
    expect(answerOf({ builtin, args })).toBe(answer);
  });

  test('what is expected is what OPA’s evaluator says', async () => {
    const calls = edges.map(([builtin, args]) => ({ builtin, args }));
    expect(await answersOfOpa(calls)).toEqual(edges.map(([, , answer]) => answer));
  });
});

/** OPA's evaluator ends where an argument is what no template has, so that there is nothing to compare. */
describe('a template', () => {
  const template = (...parts: Value[]) =>
    hostBuiltins.get('internal.template_string')?.([parts], { nowMs: 0, seed: '', spend: () => {} });

  test('is made of texts, scalars, and sets of one value', () => {
    expect(template('a', 1, n('1.0'), null, true, set('é'), set([1, 'b']), set())).toBe(
      'a11.0nulltrueé[1, "b"]<undefined>',
    );
  });

  test('fails for what has several values, or is no value of a template', () => {
    expect(() => template(set(1, 2))).toThrow(BuiltinError);
    expect(() => template([1])).toThrow(BuiltinError);
  });
});
