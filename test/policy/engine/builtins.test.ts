import { describe, expect, test } from 'vitest';
import { evaluateAll, evaluateWithOpa } from './opa.ts';

/** Each expression and its value, here and in OPA; OPA's own cases are in conformance.test.ts, these are the edges they leave out. */
async function check(table: Readonly<Record<string, unknown>>, input: unknown = {}): Promise<void> {
  const names = Object.keys(table);
  const values = await evaluateAll(Object.fromEntries(names.map((name) => [name, name])), input);
  expect(values).toEqual(table);
  // What is expected is not what we believe of OPA, but what its own evaluator says.
  expect(await evaluateWithOpa(names, input)).toEqual(table);
}

describe('sprintf', () => {
  test('formats as Go does', () =>
    check({
      'sprintf("%v|%s|%d|%q|%x", ["a", "b", 3, "c\\"", "hi"])': 'a|b|3|"c\\""|6869',
      'sprintf("%5d|%-5d|%05d|%+d|% d", [42, 42, -42, 42, 42])': '   42|42   |-0042|+42| 42',
      'sprintf("%x|%X|%#x|%o|%b|%c|%U", [255, 255, 255, 8, 5, 97, 97])': 'ff|FF|0xff|10|101|a|U+0061',
      'sprintf("%.2f|%8.3f|%e|%g", [2.5, 3.14159, 1234.5, 0.00001])': '2.50|   3.142|1.234500e+03|1e-05',
      'sprintf("%.0f|%.0f|%.1f", [0.5, 2.5, 0.25])': '0|2|0.2',
      'sprintf("%v", [1e21])': '1e+21',
      'sprintf("%v|%v", [{"b": [1, {2}], "a": null}, set()])': '{"a": null, "b": [1, {2}]}|set()',
      'sprintf("%t", [true])': '%!t(string=true)',
      'sprintf("%d", ["x"])': '%!d(string=x)',
      'sprintf("%d|%d", [1])': '1|%!d(MISSING)',
      'sprintf("a", [1, "b"])': 'a%!(EXTRA int64=1, string=b)',
      'sprintf("100%%", [])': '100%',
      'sprintf("%", [])': '%!(NOVERB)',
      'sprintf("%[2]s %[1]s", ["a", "b"])': 'b a',
      'sprintf("%*d|%.*f", [5, 1, 1, 2.25])': '    1|2.2',
      'sprintf("%5s|%-5s|%.1s", ["é", "é", "éa"])': '    é|é    |é',
      'sprintf("%d", [9007199254740993])': '9007199254740993',
      'sprintf("%d", [123456789012345678901234567890])': '123456789012345678901234567890',
      'sprintf("%T %T %T", [1, 1.5, "a"])': 'int64 float64 string',
    }));
});

describe('time', () => {
  test('is what the context says, in exact nanoseconds', async () => {
    const values = await evaluateAll({
      now: 'sprintf("%d", [time.now_ns()])',
      one: 'time.now_ns() + 1 > time.now_ns()',
    });
    expect(values).toEqual({ now: '1767225600000000000', one: true });
  });

  test('keeps nanoseconds beyond 2^53', () =>
    check({
      'sprintf("%d", [time.parse_rfc3339_ns("2026-01-02T03:04:05.123456789Z")])': '1767323045123456789',
      'time.format(time.parse_rfc3339_ns("2026-01-02T03:04:05.123456789Z"))':
        '2026-01-02T03:04:05.123456789Z',
    }));

  test('parses and formats layouts', () =>
    check({
      'time.parse_ns("2006-01-02", "1970-01-02")': 86_400_000_000_000,
      'time.parse_ns("RFC1123Z", "Thu, 01 Jan 1970 01:00:00 +0100")': 0,
      'time.parse_ns("2006 3:04 PM", "1970 12:30 AM")': 1_800_000_000_000,
      'time.parse_ns("3:04 PM", "12:30 AM")': undefined,
      'time.parse_ns("2006-01-02", "1970-02-30")': undefined,
      'time.parse_ns("2006-01-02", "1970-01-02x")': undefined,
      'time.parse_rfc3339_ns("1500-01-01T00:00:00Z")': undefined,
      'time.format([0, "Europe/Berlin", "Mon Jan _2 15:04:05 -0700 2006"])': 'Thu Jan  1 01:00:00 +0100 1970',
      'time.format([0, "Asia/Kolkata", "RFC3339"])': '1970-01-01T05:30:00+05:30',
      'time.format([1, "UTC", "15:04:05.000000 .999"])': '00:00:00.000000 ',
      'time.format([0, "No/Where"])': undefined,
      'time.format([0, "+01:00"])': undefined,
    }));

  test('knows the calendar and the zones', () =>
    check({
      'time.date([1711846800000000000, "Europe/Berlin"])': [2024, 3, 31],
      // Summer time began at 01:00 UTC.
      'time.clock([1711846800000000000, "Europe/Berlin"])': [3, 0, 0],
      'time.clock([1711846799000000000, "Europe/Berlin"])': [1, 59, 59],
      'time.weekday(-86400000000000)': 'Wednesday',
      'time.add_date(0, 0, 1, 30)': 5_270_400_000_000_000,
      'time.add_date(9223372036854775807, 1, 0, 0)': undefined,
      'time.diff(time.parse_rfc3339_ns("2024-03-01T00:00:00Z"), time.parse_rfc3339_ns("2024-02-28T23:59:59Z"))':
        [0, 0, 1, 0, 0, 1],
    }));

  test('parses durations', () =>
    check({
      'time.parse_duration_ns("1h30m1.5s")': 5_401_500_000_000,
      'time.parse_duration_ns("-1.5h")': -5_400_000_000_000,
      'time.parse_duration_ns("1d")': 86_400_000_000_000,
      'time.parse_duration_ns("10us2ns")': 10_002,
      'time.parse_duration_ns("1")': undefined,
      'time.parse_duration_ns("")': undefined,
      'time.parse_duration_ns("300y")': undefined,
    }));
});

describe('randomness', () => {
  const expressions = {
    number: 'rand.intn("a", 1000000)',
    other: 'rand.intn("b", 1000000)',
    id: 'uuid.rfc4122("a")',
    again: 'uuid.rfc4122("a")',
    none: 'rand.intn("a", 0)',
    negative: 'rand.intn("a", -1000000)',
  };

  test('is a function of the decision and of the arguments', async () => {
    const first = await evaluateAll(expressions, {}, 'decision-1');
    expect(await evaluateAll(expressions, {}, 'decision-1')).toEqual(first);
    expect(first['id']).toBe(first['again']);
    expect(first['id']).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(first['number']).not.toBe(first['other']);
    expect(first['negative']).toBe(first['number']);
    expect(first['none']).toBe(0);
    const second = await evaluateAll(expressions, {}, 'decision-2');
    expect(second['id']).not.toBe(first['id']);
  });
});

describe('regular expressions', () => {
  test('are RE2’s, with Go’s replacement and split', () =>
    check({
      'regex.replace("ab12", `([a-z]+)(?P<n>[0-9]+)`, "${n}-$1-$2x-$$")': '12-ab--$',
      'regex.replace("aaa", "^a", "b")': 'baa',
      'regex.replace("abc", "", "-")': '-a-b-c-',
      'regex.replace("baac", "a*", "x")': 'xbxcx',
      'regex.split("a*", "baac")': ['b', 'c'],
      'regex.split(",", "")': [''],
      'regex.split(",", ",a,")': ['', 'a', ''],
      'regex.find_n("a.", "abacad", 2)': ['ab', 'ac'],
      'regex.find_n("é|🎉", "é🎉é", -1)': ['é', '🎉', 'é'],
      'regex.find_n("(", "a", 1)': undefined,
      'regex.find_n("(?=a)", "a", 1)': undefined,
      'regex.template_match("urn:<[0-9]+>:a.b", "urn:12:a.b", "<", ">")': true,
      'regex.template_match("urn:<[0-9]+>:a.b", "urn:12:axb", "<", ">")': false,
      'regex.template_match("urn:<[0-9]+", "urn:12", "<", ">")': undefined,
    }));

  test('take linear time on patterns that make others backtrack', () =>
    check({ 'regex.find_n("^(a+)+$", input.text, -1)': [] }, { text: `${'a'.repeat(5_000)}b` }));
});

describe('networks', () => {
  test('expand, merge and match', () =>
    check({
      'sort(net.cidr_expand("192.0.2.254/30"))': ['192.0.2.252', '192.0.2.253', '192.0.2.254', '192.0.2.255'],
      'sort(net.cidr_expand("2001:db8::/127"))': ['2001:db8::', '2001:db8::1'],
      'net.cidr_merge(["192.0.128.0/24", "192.0.129.0/24", "192.0.129.7/32"])': ['192.0.128.0/23'],
      'net.cidr_merge(["10.0.0.0/8", "2001:db8::/33", "2001:db8:8000::/33"])': [
        '10.0.0.0/8',
        '2001:db8::/32',
      ],
      'net.cidr_is_valid("192.0.2.0/24")': true,
      'net.cidr_is_valid("192.0.2.0/33")': false,
      'net.cidr_is_valid("192.0.02.0/24")': false,
      'net.cidr_contains_matches(["10.0.0.0/8", "11.0.0.0/8"], "11.1.2.3")': [[1, '11.1.2.3']],
      'net.cidr_contains_matches("10.0.0.0/8", "nonsense")': undefined,
    }));
});

describe('documents', () => {
  test('YAML', () =>
    check({
      'yaml.unmarshal("a: [1, 2.50, yes, null]")': { a: [1, 2.5, 'yes', null] },
      'yaml.unmarshal("1: {true: x}")': { 1: { true: 'x' } },
      'yaml.unmarshal("a: &x [1]\\nb: *x")': { a: [1], b: [1] },
      'sprintf("%d", [yaml.unmarshal("9007199254740993")])': '9007199254740993',
      'yaml.unmarshal("{")': undefined,
      'yaml.unmarshal("a: .inf")': undefined,
      'yaml.marshal({"b": [1, {"c": null}], "a": "yes"})': 'a: "yes"\nb:\n  - 1\n  - c: null\n',
    }));

  test('an alias bomb is undefined', async () => {
    const bomb = ['a: &a [x, x, x, x, x, x, x, x, x]'];
    for (const [name, before] of ['ba', 'cb', 'dc', 'ed', 'fe', 'gf', 'hg'].map((pair) => pair.split('')))
      bomb.push(`${name}: &${name} [${Array.from({ length: 9 }, () => `*${before}`).join(', ')}]`);
    await check(
      { 'yaml.unmarshal(input.text)': undefined, 'yaml.is_valid(input.text)': false },
      { text: bomb.join('\n') },
    );
  });

  test('JSON patch', () =>
    check({
      'json.patch({"a": [1, 2]}, [{"op": "add", "path": "/a/-", "value": 3}])': { a: [1, 2, 3] },
      'json.patch({"a": {"b/c": 1}}, [{"op": "remove", "path": "/a/b~1c"}])': { a: {} },
      'json.patch({"a": 1}, [{"op": "move", "from": "/a", "path": "/b"}])': { b: 1 },
      'json.patch({"a": 1}, [{"op": "test", "path": "/a", "value": 2}])': undefined,
      'json.patch({"a": 1}, [{"op": "replace", "path": "/b", "value": 2}])': undefined,
      'json.patch([1], [{"op": "add", "path": "/01", "value": 2}])': undefined,
      'json.patch({"a": {1, 2}}, [{"op": "remove", "path": ["a", 1]}])': { a: [2] },
    }));

  test('queries, hexadecimal and base64', () =>
    check({
      'urlquery.encode("a b&c=ü*~")': 'a+b%26c%3D%C3%BC%2A~',
      'urlquery.decode("a+b%26c")': 'a b&c',
      'urlquery.decode("%zz")': undefined,
      'urlquery.decode_object("a=1&a=2&b")': { a: ['1', '2'], b: [''] },
      'urlquery.encode_object({"b": "1", "a": ["2", "3"]})': 'a=2&a=3&b=1',
      'hex.encode("é")': 'c3a9',
      'hex.decode("c3a9")': 'é',
      'hex.decode("c3a")': undefined,
      'base64url.encode_no_pad("a?>")': 'YT8-',
      'json.marshal_with_options({"a": [1]}, {"indent": " ", "prefix": ">"})': '>{\n> "a": [\n>  1\n> ]\n>}',
    }));
});

describe('numbers and versions', () => {
  test('units', () =>
    check({
      'units.parse("10K")': 10_000,
      'units.parse("1.5Mi")': 1_572_864,
      'units.parse("100m")': 0.1,
      'units.parse("1e3")': 1_000,
      'units.parse("1 K")': undefined,
      'units.parse("K")': undefined,
      'units.parse_bytes("1.5KiB")': 1_536,
      'units.parse_bytes("1e9999999")': undefined,
      'sprintf("%d", [units.parse_bytes("16EiB")])': '18446744073709551616',
      'numbers.range_step(0, 10, 4)': [0, 4, 8],
      'numbers.range_step(3, 0, 2)': [3, 1],
      'numbers.range_step(0, 10, 0)': undefined,
    }));

  test('semantic versions', () =>
    check({
      'semver.compare("1.0.0-alpha", "1.0.0")': -1,
      'semver.compare("1.0.0-alpha.2", "1.0.0-alpha.10")': -1,
      'semver.compare("1.0.0+a", "1.0.0+b")': 0,
      'semver.compare("1.0", "1.0.0")': undefined,
      'semver.is_valid("1.0.0-01")': false,
      'semver.is_valid("v1.2.3")': true,
    }));
});

describe('tokens and digests', () => {
  const token = 'eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJuIjo5MDA3MTk5MjU0NzQwOTkzfQ';

  test('decodes without verification, exactly', () =>
    check(
      {
        'io.jwt.decode(input.token)[0]': { alg: 'HS256', typ: 'JWT' },
        'sprintf("%d", [io.jwt.decode(input.token)[1].n])': '9007199254740993',
        'io.jwt.decode("a.b")': undefined,
        'io.jwt.verify_hs256(input.token, "secret")': false,
        'io.jwt.verify_rs256(input.token, "no key")': undefined,
      },
      { token: `${token}.AAAA` },
    ));

  test('digests', () =>
    check({
      'crypto.sha256("")': 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855',
      'crypto.md5("é")': '66ddcd97cfdeabb2f6fb8a999b4bc76f',
      'crypto.hmac.equal("a", "a")': true,
      'crypto.hmac.equal("a", "ab")': false,
    }));
});

describe('collections and text', () => {
  test('subsets and paths', () =>
    check({
      'object.subset({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}})': true,
      'object.subset([1, 2, 3], [2, 3])': true,
      'object.subset([1, 2, 3], [1, 3])': false,
      'object.subset([1, 2, 3], {3, 1})': true,
      'object.subset({1}, [1])': undefined,
      'graph.reachable_paths({"a": {"b"}, "b": {"a", "c"}, "c": set()}, {"a"})': [
        ['a', 'b'],
        ['a', 'b', 'c'],
      ],
    }));

  test('strings', () =>
    check({
      'strings.any_prefix_match(["abc", "x"], {"ab", "z"})': true,
      'strings.any_suffix_match("abc", ["x"])': false,
      'strings.count("aaaa", "aa")': 2,
      'strings.count("é🎉", "")': 3,
      'indexof_n("aaa", "aa")': [0, 1],
      'indexof_n("é🎉é", "é")': [0, 2],
      'glob.quote_meta("*.{a,b}")': '\\*.\\{a,b\\}',
    }));
});
