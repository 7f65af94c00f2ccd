import { generateKeyPairSync } from 'node:crypto';

/** A call of a built-in that takes as long as it can for the fuel it is charged. */
export interface Adversary {
  readonly builtin: string;
  /** Rego. `input` is below. */
  readonly call: string;
  /** Fuel units that one call costs at least. */
  readonly units: number;
}

const range = <T>(length: number, make: (index: number) => T): T[] =>
  Array.from({ length }, (_, n) => make(n));
const record = <T>(length: number, make: (index: number) => T): Record<string, T> =>
  Object.fromEntries(range(length, (n) => [`k${n}`, make(n)]));
const nested = (depth: number): object =>
  range(depth, (n) => n).reduce<object>((inner) => ({ a: inner }), {});
const base64 = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const token = (bytes: number): string =>
  `${base64({ alg: 'x' })}.${base64({})}.${Buffer.alloc(bytes, 1).toString('base64url')}`;
const dense = (count: number): Record<string, string[]> => record(count, () => range(count, (n) => `k${n}`));

const input = {
  letters: 'a'.repeat(30_000),
  digits: '9'.repeat(30_000),
  marks: "!'()*".repeat(10_000),
  spaces: ' '.repeat(1_000),
  many: range(1_000, (n) => `s${n}`),
  numbers: range(5_000, (n) => n),
  smallest: range(5_000, () => 5e-324),
  object: record(5_000, (n) => n),
  deep: nested(400),
  document: { big: record(1_000, (n) => n), y: 1 },
  dense8: dense(8),
  dense14: dense(14),
  star: { a: range(3_000, () => 'a') },
  long: record(10, () => range(10, (n) => `k${n}`)),
  copies: range(2_000, (n) => ({ op: 'copy', from: '/big', path: `/c${n}` })),
  doublings: range(40, (n) => ({ op: 'copy', from: '', path: `/c${n}` })),
  replacements: range(2_000, () => ({ op: 'replace', path: '/big/k1', value: 1 })),
  tests: range(300, () => ({ op: 'test', path: '/big', value: 1 })),
  yamlErrors: 'k: {'.repeat(3_000),
  yamlBraces: '['.repeat(1_000),
  yamlKeys: '? '.repeat(1_500),
  pairs: 'a=&'.repeat(15_000),
  layout: 'MST'.repeat(2_000),
  durations: '1d'.repeat(5_000),
  /** Nobody could sign with it, and its exponent is as long as the modulus. */
  rsaToken: token(384),
  rsaKey: JSON.stringify({
    kty: 'RSA',
    n: Buffer.alloc(384, 0xff).toString('base64url'),
    e: Buffer.alloc(384, 0xfd).toString('base64url'),
  }),
  ecToken: token(132),
  ecKey: JSON.stringify(
    generateKeyPairSync('ec', { namedCurve: 'P-521' }).publicKey.export({ format: 'jwk' }),
  ),
  cidrs: range(500, (n) => `2001:db8:${n.toString(16)}:1:2:3:4::/112`),
};

export const adversaries: readonly Adversary[] = (
  [
    ['base64url.encode_no_pad', 'base64url.encode_no_pad("a")', 2_300],
    ['object.subset', 'object.subset({x | some x in input.numbers}, {1})', 2_900_000],
    ['crypto.md5', 'crypto.md5("a")', 3_800],
    ['crypto.hmac.sha256', 'crypto.hmac.sha256("a", "a")', 4_700],
    ['graph.reachable_paths', 'graph.reachable_paths(input.dense14, ["k0"])', 20_000_000],
    ['graph.reachable_paths', 'graph.reachable_paths(input.dense8, ["k0"])', 20_000_000],
    ['graph.reachable_paths', 'graph.reachable_paths(input.star, ["a"])', 20_000_000],
    ['hex.decode', 'hex.decode("a")', 3_300],
    ['io.jwt.decode', 'io.jwt.decode("a")', 3_300],
    ['io.jwt.verify_rs256', 'io.jwt.verify_rs256(input.rsaToken, input.rsaKey)', 5_100_000],
    ['io.jwt.verify_es512', 'io.jwt.verify_es512(input.ecToken, input.ecKey)', 1_300_000],
    [
      'json.marshal_with_options',
      'json.marshal_with_options(input.deep, {"indent": input.spaces})',
      20_000_000,
    ],
    [
      'json.marshal_with_options',
      'json.marshal_with_options({{{{{{{{{{{{{{{{1: 1}: 1}: 1}: 1}: 1}: 1}: 1}: 1}: 1}: 1}: 1}: 1}: 1}: 1}: 1}: 1}, {})',
      2_500_000,
    ],
    ['json.patch', 'json.patch(input.document, input.copies)', 20_000_000],
    ['json.patch', 'json.patch(input.document, input.doublings)', 20_000_000],
    ['json.patch', 'json.patch(input.document, input.replacements)', 20_000_000],
    ['json.patch', 'json.patch(input.document, input.tests)', 2_100_000],
    ['net.cidr_expand', 'net.cidr_expand("2001:db8::/116")', 20_000_000],
    ['net.cidr_merge', 'net.cidr_merge(input.cidrs)', 7_200_000],
    ['net.cidr_merge', 'net.cidr_merge(["::1/128", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/128"])', 21_000],
    ['numbers.range_step', 'numbers.range_step(1, 100000, 1)', 20_000_000],
    ['object.subset', 'object.subset(input.deep, object.union(input.deep, {"b": 1}))', 520_000],
    [
      'object.subset',
      'object.subset([0 | some _ in numbers.range(1, 3000)], array.concat([0 | some _ in numbers.range(1, 1500)], [1]))',
      19_000_000,
    ],
    ['rand.intn', 'rand.intn("a", 10)', 5_700],
    ['rand.intn', 'rand.intn("a", json.unmarshal(input.digits))', 4_800_000],
    ['regex.find_n', 'regex.find_n("(?i)\\\\pL+(", "b", 1)', 73_000],
    ['sprintf', 'sprintf("%d", [json.unmarshal(input.digits)])', 5_500_000],
    [
      'sprintf',
      'sprintf(concat("", [x | some _ in numbers.range(1, 2000); x := "%[1]s"]), [input.letters])',
      20_000_000,
    ],
    [
      'sprintf',
      'sprintf(concat("", [x | some _ in numbers.range(1, 100); x := "%[1]x"]), [input.letters])',
      20_000_000,
    ],
    [
      'sprintf',
      'sprintf(concat("", [x | some _ in numbers.range(1, 5000); x := "%f"]), input.smallest)',
      20_000_000,
    ],
    ['time.clock', 'time.clock(1)', 4_800],
    ['time.format', 'time.format([1, "Asia/Kolkata", input.layout])', 2_600_000],
    ['time.parse_ns', 'time.parse_ns("a", "b")', 10_000],
    ['time.parse_rfc3339_ns', 'time.parse_rfc3339_ns("a")', 9_700],
    ['time.parse_duration_ns', 'time.parse_duration_ns(input.durations)', 3_200_000],
    ['time.weekday', 'time.weekday([1, "No/Where"])', 30_000],
    ['units.parse', 'units.parse("1e4000m")', 130_000],
    ['units.parse_bytes', 'units.parse_bytes("a")', 4_900],
    ['urlquery.decode', 'urlquery.decode("a")', 2_300],
    ['urlquery.decode_object', 'urlquery.decode_object(input.pairs)', 20_000_000],
    ['urlquery.encode_object', 'urlquery.encode_object({input.marks: input.many})', 20_000_000],
    ['uuid.rfc4122', 'uuid.rfc4122("a")', 6_300],
    ['yaml.marshal', 'yaml.marshal(input.deep)', 20_000_000],
    ['yaml.marshal', 'yaml.marshal(input.object)', 20_000_000],
    ['yaml.unmarshal', 'yaml.unmarshal("a")', 19_000],
    ['yaml.unmarshal', 'yaml.unmarshal(input.yamlErrors)', 20_000_000],
    ['yaml.unmarshal', 'yaml.unmarshal(input.yamlBraces)', 2_500_000],
    ['yaml.unmarshal', 'yaml.unmarshal(input.yamlKeys)', 7_500_000],
  ] as const
).map(([builtin, call, units]) => ({ builtin, call, units }));

/** The members of the input that a call reads: to place them costs fuel too. */
export function inputOf(call: string, members: Readonly<Record<string, unknown>> = input): string {
  const used = Object.entries(members).filter(([name]) => call.includes(`input.${name}`));
  return JSON.stringify(Object.fromEntries(used));
}
