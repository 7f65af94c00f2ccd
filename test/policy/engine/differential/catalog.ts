import { numberOf } from '../../../../src/policy/engine/values/numbers.ts';
import { RegoObject, type Value } from '../../../../src/policy/engine/values/values.ts';
import {
  type Draw,
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

const globPiece = of(
  '*',
  '**',
  '?',
  'a',
  'b',
  'ab',
  '/',
  '.',
  '-',
  ':',
  '{',
  '}',
  ',',
  '{a,b}',
  '{a*,}',
  '{,b}',
  '{a,{b,c}}',
  '{}',
  '{*,**}',
  '[ab]',
  '[!a]',
  '[a-c]',
  '[!a-c]',
  '[a-]',
  '[]',
  '[',
  ']',
  '[\\]]',
  '[!-a]',
  '[\\-x]',
  '[]-a]',
  '\\*',
  '\\',
  '\\\\',
  'é',
  '🎉',
  '[é-ü]',
  '$',
);
const glob: Generator<string> = (draw) => draw.list(6, globPiece).join('');
const globText: Generator<string> = (draw) =>
  draw.chance(5)
    ? text(draw)
    : draw.list(8, of('a', 'b', 'c', '/', '.', '-', ':', 'ab', 'é', '🎉', '*', ',', ']')).join('');
const separators = either(
  of(null, [], ['.'], ['/'], ['/', '-', ':'], ['é'], ['🎉'], ['a'], ['*'], [''], ['ab']),
  arrayOf(text, 2),
);

const octets = of('10', '0', '1', '127', '128', '192', '255', '256', '01', '');
const prefix = of(
  '/8',
  '/16',
  '/24',
  '/28',
  '/30',
  '/31',
  '/32',
  '/33',
  '/0',
  '/08',
  '/',
  '/-1',
  '/+8',
  '/96',
  '/104',
  '/120',
  '/127',
  '/128',
  '/129',
  '/64',
  '',
);
const fixedAddress = of(
  '10.0.0.0',
  '10.1.2.3',
  '10.1.2.4',
  '10.0.0.1',
  '192.168.1.1',
  '192.168.1.255',
  '255.255.255.255',
  '2001:db8::',
  '2001:db8::1',
  '2001:db8:1::ffff',
  '::ffff:10.1.2.3',
  '::ffff:10.0.0.0',
  '::',
  '::1',
  'fe80::1%eth0',
  '1.2.3',
  '1:2',
  '2001:db8::10.1.2.3',
  'FFFF::',
  '2001:DB8:0:0:0:0:0:1',
  '1:2:3:4:5:6:7::',
  '::2:3:4:5:6:7:8',
  '1::2::3',
);
const address: Generator<string> = (draw) =>
  draw.chance(4) ? Array.from({ length: 4 }, () => octets(draw)).join('.') : fixedAddress(draw);
const cidr: Generator<string> = (draw) => `${address(draw)}${prefix(draw)}`;
const smallCidr: Generator = (draw) => {
  const front = address(draw);
  const lengths = front.includes(':')
    ? ['/123', '/126', '/128', '/127', '/129', '']
    : ['/28', '/30', '/32', '/31', '/029', '/33'];
  return front + draw.one(lengths);
};
const plainCidr: Generator = (draw) =>
  draw.chance(2)
    ? `10.${draw.below(2)}.${draw.below(3)}.${draw.below(256)}/${draw.one([8, 15, 16, 22, 23, 24, 25, 30, 31, 32])}`
    : draw.one([
        '10.1.2.3',
        '10.1.2.4',
        '192.168.1.1',
        '172.16.5.5',
        '224.0.0.1',
        `2001:db8:${draw.below(3)}::/${draw.one([32, 46, 47, 48, 64])}`,
        '8000::/1',
        'c000::/2',
        'a000::/3',
        '255.255.255.0/24',
      ]);
const matched = either(
  cidr,
  address,
  arrayOf(either(cidr, address, arrayOf(cidr, 2))),
  setOf(either(cidr, address)),
  objectOf(text, cidr),
  scalar,
);

const regexPiece = of(
  'a',
  'b',
  'ab',
  '.',
  'a*',
  'b+',
  'a?',
  'a*?',
  '(a)',
  '(b|c)',
  '(?:ab)+',
  '(a)|(b)',
  '^',
  '$',
  '\\b',
  '\\B',
  '\\A',
  '\\z',
  '\\Z',
  '[a-c]',
  '[^a]',
  '[[:alpha:]]',
  '[[:foo:]]',
  '\\d',
  '\\w+',
  '\\s',
  '\\pL',
  '\\p{Greek}',
  '\\p{Foo}',
  '\\P{Lu}',
  '(?i)',
  '(?i:k)',
  '(?s)',
  '(?m)',
  '(?U)',
  '(?x)',
  '(?P<n>a)',
  '(?<n>b)',
  '(?<m>b)',
  '(?=a)',
  '(?<=a)',
  'a{2}',
  'a{1,2}',
  'a{,2}',
  'a{2,1}',
  'a{1001}',
  'a{1000}',
  '(a{10}){100}',
  '((a{10}){10}){11}',
  'a**',
  'a{2}{3}',
  '(',
  ')',
  '[',
  ']',
  '{',
  '}',
  '|',
  '\\',
  '\\Q*',
  '\\E',
  '\\x41',
  '\\x{1F389}',
  '\\07',
  '\\1',
  '\\C',
  '\\_',
  '\\-',
  'é',
  '🎉',
  'ſ',
  '[a-',
  '[b-a]',
  '[\\d-z]',
  '()',
  '(|a)',
  '[]a]',
  '[^]a]',
  ' ',
  '\\n',
  '*',
  '+',
  '?',
);
/** Without two groups of one name, which Go takes and re2js does not. */
const pattern: Generator<string> = (draw) => {
  const made = draw.chance(12) ? text(draw) : draw.list(4, regexPiece).join('');
  return made.replaceAll('(?<n>', '(?P<n>').replace(/(\(\?P?<[nm]>)(.*)\1/g, '$1$2(');
};
const subject: Generator<string> = (draw) =>
  draw.chance(6)
    ? text(draw)
    : draw.list(10, of('a', 'b', 'c', 'ab', 'A', 'K', 'ſ', 'é', '🎉', ' ', '1', '\n', '_', 'α')).join('');
const replacement = of(
  '',
  '-',
  '$1',
  '${1}',
  '$1x',
  '${1}x',
  '$n',
  '${n}-',
  '$$',
  '$',
  '${',
  '${}',
  '$0',
  '$01',
  '$9',
  '\\1',
  'é$0',
  '${a b}',
  '$é',
  '$🎉',
);
const template: Generator<string> = (draw) =>
  draw.list(4, of('a', '<[a-z]+>', '<b>', '<', '>', 'c.', '<(>', '<a<b>>', '|', '[a]')).join('');

const directive: Generator<string> = (draw) =>
  `%${draw.list(2, of('+', '-', '#', ' ', '0')).join('')}${draw.chance(3) ? draw.one(['1', '5', '12', '*', '[1]*', '[2]', '007', '1000001']) : ''}${
    draw.chance(3) ? draw.one(['.', '.0', '.2', '.7', '.*', '.20', '.[1]*']) : ''
  }${draw.chance(8) ? draw.one(['[1]', '[2]', '[3]', '[0]', '[x]', '[', '[9]']) : ''}${draw.one(Array.from('vvssddqxXbocUeEfFgGtTOw%!é'))}`;
const format: Generator<string> = (draw) =>
  draw
    .list(3, (inner) =>
      inner.chance(3) ? inner.one(['', 'a', '%', 'é', '%%', '%d', '%s', '%v']) : directive(inner),
    )
    .join(draw.one(['', ' ', '-']));
const identifier: Generator<string> = of(
  '0',
  '1',
  '2',
  '10',
  '01',
  'a',
  'alpha',
  'beta',
  'x-y',
  '',
  '1a',
  'A',
);
const version: Generator<string> = (draw) =>
  draw.one(['', '', 'v', 'V', '=']) +
  Array.from({ length: draw.one([3, 3, 3, 2, 4]) }, () =>
    draw.one(
      ['0', '1', '2', '10', '01', '', 'x', '9223372036854775807', '9223372036854775808'].slice(
        0,
        draw.one([4, 4, 9]),
      ),
    ),
  ).join('.') +
  (draw.chance(2) ? `-${draw.list(3, identifier).join('.')}` : '') +
  (draw.chance(3) ? `+${draw.list(2, identifier).join('.')}` : '');
const amount: Generator<string> = (draw) =>
  draw.one([
    '1',
    '10',
    '1.5',
    '0.1',
    '.5',
    '5.',
    '-1',
    '+2',
    '1e3',
    '1E3',
    '1e',
    '100',
    '9007199254740993',
    '1.23456789012345',
    '1_0',
    '',
    '0x1',
    '1e-3',
    '33',
    '1.0',
    '1e4000',
  ]) +
  draw.one([
    '',
    'K',
    'k',
    'M',
    'm',
    'Mi',
    'mi',
    'MI',
    'G',
    'Gi',
    'KB',
    'kb',
    'KiB',
    'MiB',
    'EiB',
    'E',
    'e',
    'Ei',
    'B',
    'P',
    'T',
    'ti',
    ' K',
    'Kb',
    'kib',
    '"',
    'é',
    'm"',
  ]);
const hexDigits: Generator<string> = (draw) =>
  Array.from({ length: draw.one([32, 32, 12, 31]) }, () =>
    draw.one(Array.from('0123456789abcdefABCDEF')),
  ).join('');
const uuid: Generator<string> = (draw) => {
  const hex = hexDigits(draw);
  const version = hex.slice(0, 12) + draw.one(['1', '2', '3', '4', '7', '6']) + hex.slice(13);
  const dashed = version.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  return (
    draw.one(['', '', '', '{', 'urn:uuid:', 'URN:UUID:', '(', 'urn:']) +
    draw.one([dashed, dashed, dashed, version]) +
    draw.one(['', '', '', '}', ')', 'x'])
  );
};
const query: Generator<string> = (draw) =>
  draw
    .list(5, of('a', 'b', '=', '&', '+', '%20', '%zz', '%', '%C3%A9', '%ff', 'é', ';', 'a=1', '&&'))
    .join('');
const operation: Generator = (draw) =>
  new RegoObject([
    ['op', draw.one(['add', 'add', 'remove', 'replace', 'move', 'copy', 'test', 'x'])],
    ['path', either(path, path, of('a/-', '-', 'a/01', 'a/2'))(draw)],
    ...(draw.chance(4) ? [] : [['value', tree(draw)] as const]),
    ...(draw.chance(3) ? [] : [['from', path(draw)] as const]),
  ]);
const options = objectOf(
  of('pretty', 'indent', 'prefix', 'x'),
  either(of(true, false), of('', ' ', '\t', '>>'), scalar),
  3,
);
const segment: Generator<string> = (draw) =>
  Buffer.from(
    draw.one([
      '{}',
      '{"alg":"HS256"}',
      '{"alg":"none","kid":"é"}',
      '{"cty":"JWT"}',
      '{"enc":"x"}',
      '[]',
      '{',
      '1',
      '{"a":1e400}',
      '{"n":1.0}',
      'null',
      '"a"',
    ]),
  ).toString('base64url') + draw.one(['', '', '', '=', '==', '\n', '!']);
const token: Generator<string> = (draw) =>
  Array.from({ length: draw.one([3, 3, 3, 2, 4]) }, () =>
    draw.chance(8) ? draw.one(['', 'AA', '_-', 'a']) : segment(draw),
  ).join('.');

const nanoseconds: Generator = (draw) => {
  if (draw.chance(6)) return number(draw);
  const seconds = draw.below(2 ** 32) * draw.one([1, 2, -1, -2, 1, 0]) + draw.below(1_000);
  return numberOf(
    String(BigInt(seconds) * 1_000_000_000n + BigInt(draw.one([0, 0, draw.below(1e9), 120_000_000]))),
  );
};
const zone: Generator<string> = of(
  'UTC',
  '',
  'Europe/Berlin',
  'Europe/London',
  'America/New_York',
  'Asia/Kolkata',
  'Australia/Sydney',
  'America/Sao_Paulo',
  'Asia/Kathmandu',
  'Africa/Casablanca',
  'America/St_Johns',
  'Asia/Tehran',
  'Pacific/Apia',
  'Antarctica/Troll',
  'Asia/Gaza',
  'America/Nuuk',
  'Etc/GMT+5',
  'GMT',
  'Zulu',
  'Europe/Dublin',
  'Africa/Monrovia',
  'Pacific/Kiritimati',
  'europe/berlin',
  'No/Where',
  '+01:00',
  '../UTC',
  'Europe',
  'Etc/Unknown',
  'utc',
  'Europe/Berlin ',
);
const layoutPiece: Generator<string> = of(
  '2006',
  '06',
  '01',
  '1',
  'Jan',
  'January',
  '02',
  '2',
  '_2',
  '002',
  '__2',
  'Mon',
  'Monday',
  '15',
  '03',
  '3',
  '04',
  '4',
  '05',
  '5',
  'PM',
  'pm',
  'MST',
  'Z07:00',
  '-0700',
  '-07:00',
  '-07',
  'Z0700',
  'Z07',
  '-070000',
  'Z07:00:00',
  '.000',
  '.999999999',
  ',000',
  '.99',
  '.001',
  '_2006',
  'January1',
  'Janet',
  'Mona',
  ' ',
  '  ',
  '-',
  'T',
  'é',
  'x',
  '20',
  '.',
  '[',
  '(',
);
const layout: Generator<string> = (draw) =>
  draw.chance(2)
    ? draw.one([
        'RFC3339',
        'RFC3339Nano',
        'ANSIC',
        'UnixDate',
        'RubyDate',
        'RFC822',
        'RFC822Z',
        'RFC850',
        'RFC1123',
        'RFC1123Z',
        'Kitchen',
        '2006-01-02',
        '2006-01-02T15:04:05Z07:00',
        '',
      ])
    : draw.list(6, layoutPiece).join(draw.one(['', ' ', '-']));
const moment: Generator = (draw) =>
  draw.one<Generator>([
    nanoseconds,
    (inner) => [nanoseconds(inner), zone(inner)],
    (inner) => [nanoseconds(inner), zone(inner), layout(inner)],
    arrayOf(scalar, 3),
  ])(draw);
const timePiece: Generator<string> = of(
  '2006',
  '1999',
  '06',
  '69',
  '68',
  '01',
  '12',
  '13',
  '1',
  'Jan',
  'feb',
  'January',
  '02',
  '31',
  '30',
  '2',
  ' 2',
  '002',
  '365',
  '366',
  '060',
  'Mon',
  'Tuesday',
  '15',
  '24',
  '03',
  '12',
  '3',
  '04',
  '60',
  '4',
  '05',
  '5',
  '59',
  'PM',
  'AM',
  'pm',
  'MST',
  'CEST',
  'GMT+3',
  'UTC',
  'ChST',
  '+03',
  'Z',
  '+01:00',
  '-0700',
  '+07',
  '+25:00',
  '-070000',
  '.000',
  '.123456789',
  ',5',
  '.5',
  ' ',
  '  ',
  '-',
  'T',
  'é',
  'x',
  '0',
  '',
);
const formatted = [
  ['2006-01-02', '1970-02-29'],
  ['2006-01-02', '1972-02-29'],
  ['2006-01-02 15:04:05', '2024-02-30 01:02:03.5'],
  ['RFC3339', '2026-01-02T03:04:05.123456789Z'],
  ['RFC3339', '2026-01-02T03:04:05,5+01:00'],
  ['RFC3339', '2026-01-02T03:04:05+24:00'],
  ['RFC3339', '2026-01-02t03:04:05z'],
  ['RFC3339', '2026-1-02T03:04:05Z'],
  ['RFC1123', 'Mon, 02 Jan 2006 15:04:05 MST'],
  ['RFC1123', 'mon, 02 JAN 2006 15:04:05 UTC'],
  ['RFC850', 'Monday, 02-Jan-06 15:04:05 GMT-8'],
  ['ANSIC', 'Mon Jan  2 15:04:05 2006'],
  ['ANSIC', 'Mon Jan 12 15:04:05 2006'],
  ['UnixDate', 'Mon Jan _2 15:04:05 MST 2006'],
  ['RubyDate', 'Mon Jan 02 15:04:05 -0700 2006'],
  ['3:04PM', '12:00AM'],
  ['03 PM', '13 PM'],
  ['15 pm', '5 pm'],
  ['2006 002', '2024 366'],
  ['2006 002', '2023 366'],
  ['2006 __2', '2023   5'],
  ['2006 01 002', '2023 02 032'],
  ['.000', '.123'],
  ['05.999', '05.123456'],
  ['05', '05.123456'],
  ['05,000', '05.123'],
  ['MST', 'WITA'],
  ['MST', 'MeST'],
  ['-07', '-00'],
] as const;
const duration: Generator<string> = (draw) =>
  draw.one(['', '', '-', '+', '--']) +
  draw
    .list(
      3,
      (inner) =>
        inner.one([
          '1',
          '1.5',
          '.5',
          '5.',
          '0',
          '00',
          '1e3',
          '9223372036854775807',
          '9223372036854775808',
          '106751',
          '292',
          '0.1',
          '1.1.1',
          '.',
          '',
          '1.0000000000000000001',
        ]) + inner.one(['h', 'm', 's', 'ms', 'us', 'ns', '\u00b5s', '\u03bcs', 'd', 'w', 'y', '', 'x', 'H']),
    )
    .join('');

const layouts: readonly (readonly [layout: string, texts: readonly string[]])[] = [
  ['2006', ['2006', '1999', '2024', '0000', '99', '12345']],
  ['06', ['06', '69', '68', '99', '6']],
  ['01', ['01', '12', '13', '2', '00']],
  ['1', ['1', '12', '02', '13', '0']],
  ['Jan', ['Jan', 'feb', 'DEC', 'Janu', 'J']],
  ['January', ['January', 'february', 'MAY', 'Feb']],
  ['02', ['02', '31', '30', '29', '5', '00', ' 5']],
  ['2', ['2', '31', '05', ' 5', '32']],
  ['_2', ['2', ' 2', '31', '  2', '02']],
  ['002', ['002', '365', '366', '060', '5', '000']],
  ['__2', ['  2', '  5', '365', '60', ' 60', '366']],
  ['Mon', ['Mon', 'tue', 'Tuesday', 'xyz']],
  ['Monday', ['Monday', 'SUNDAY', 'Mon']],
  ['15', ['15', '24', '5', '05', '23']],
  ['03', ['03', '12', '13', '3', '00']],
  ['3', ['3', '12', '03', '13', '0']],
  ['04', ['04', '60', '4', '59']],
  ['4', ['4', '59', '04', '60']],
  ['05', ['05', '60', '5', '59', '05.5', '05,123456789', '05.1234567891', '05.']],
  ['5', ['5', '59', '05.25', '60']],
  ['PM', ['PM', 'AM', 'pm', 'Am']],
  ['pm', ['pm', 'am', 'PM']],
  [
    'MST',
    [
      'MST',
      'CEST',
      'GMT+3',
      'GMT-25',
      'GMT',
      'UTC',
      'ChST',
      'MeST',
      'WITA',
      '+03',
      '-1130',
      'ABCDE',
      'AB',
      'CESTX',
      'GMT+',
      '+24',
    ],
  ],
  ['Z07:00', ['Z', '+01:00', '-07:30', '+24:00', '+25:00', '+01', '+0100', '+00:60', 'z']],
  ['-0700', ['+0100', '-0730', '+2400', 'Z', '+1', '+0061']],
  ['-07:00', ['+01:00', '-00:30', 'Z', '+0100']],
  ['-07', ['+01', '-11', '+24', 'Z', '+25']],
  ['Z0700', ['Z', '+0100']],
  ['Z07', ['Z', '-03']],
  ['-070000', ['+010203', '-000001', '+010260']],
  ['Z07:00:00', ['Z', '+01:02:03', '+01:02:61']],
  ['-07:00:00', ['+01:02:03']],
  ['.000', ['.123', '.12', ',123', '.1234', '']],
  ['.999', ['.1', '.123456789', '', ',5', '.']],
  [',000', [',123', '.123']],
  ['T', ['T', 't']],
  [' ', [' ', '  ', '']],
  ['é', ['é', 'e']],
  ['_2006', ['_2006', ' 2006', '2006']],
];

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
  'crypto.hmac.equal': [text, text],
  'crypto.hmac.md5': [text, text],
  'crypto.hmac.sha1': [text, text],
  'crypto.hmac.sha256': [text, text],
  'crypto.hmac.sha512': [text, text],
  'crypto.md5': [text],
  'crypto.sha1': [text],
  'crypto.sha256': [text],
  div: [number, number],
  endswith: [text, text],
  equal: [any, any],
  floor: [number],
  format_int: [number, base],
  'glob.match': [glob, separators, globText],
  'glob.quote_meta': [either(glob, text)],
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
  'io.jwt.decode': [token],
  'io.jwt.verify_hs256': [token, text],
  'io.jwt.verify_hs384': [token, text],
  'io.jwt.verify_hs512': [token, text],
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
  'json.marshal_with_options': [any, options],
  'json.patch': [document, arrayOf(operation, 3)],
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
  'net.cidr_contains': [cidr, either(cidr, address)],
  'net.cidr_contains_matches': [matched, matched],
  'net.cidr_expand': [smallCidr],
  'net.cidr_intersects': [cidr, cidr],
  'net.cidr_is_valid': [cidr],
  'net.cidr_merge': [either(arrayOf(plainCidr, 6), setOf(plainCidr, 6))],
  'net.cidr_overlap': [cidr, either(cidr, address)],
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
  re_match: [pattern, subject],
  'regex.find_all_string_submatch_n': [pattern, subject, integer],
  'regex.find_n': [pattern, subject, integer],
  'regex.is_valid': [pattern],
  'regex.match': [pattern, subject],
  'regex.replace': [subject, pattern, replacement],
  'regex.split': [pattern, subject],
  'regex.template_match': [
    template,
    subject,
    of('<', '<', '<', '>', '', '<<', '|'),
    of('>', '>', '>', '<', '|'),
  ],
  rem: [number, number],
  replace: [text, text, text],
  round: [number],
  'semver.compare': [version, version],
  'semver.is_valid': [version],
  set_diff: [set, set],
  sort: [collection],
  split: [text, text],
  sprintf: [format, arrayOf(either(scalar, number, any), 3)],
  startswith: [text, text],
  'strings.any_prefix_match': [either(text, texts), either(text, texts)],
  'strings.any_suffix_match': [either(text, texts), either(text, texts)],
  'strings.count': [text, text],
  'strings.replace_n': [objectOf(text, text), text],
  'strings.reverse': [text],
  'strings.split_n': [text, text, integer],
  substring: [text, integer, integer],
  sum: [numbers],
  'time.add_date': [moment, integer, integer, integer],
  'time.clock': [moment],
  'time.date': [moment],
  'time.diff': [moment, moment],
  'time.format': [moment],
  'time.parse_duration_ns': [duration],
  'time.parse_ns': [layout, either(layout, (draw) => draw.list(6, timePiece).join(draw.one(['', ' ', '-'])))],
  'time.parse_rfc3339_ns': [of(...formatted.map(([, value]) => value))],
  'time.weekday': [moment],
  to_number: [text],
  trim: [text, text],
  trim_left: [text, text],
  trim_prefix: [text, text],
  trim_right: [text, text],
  trim_space: [text],
  trim_suffix: [text, text],
  type_name: [any],
  union: [sets],
  'units.parse': [amount],
  'units.parse_bytes': [amount],
  upper: [text],
  'urlquery.decode': [query],
  'urlquery.decode_object': [query],
  'urlquery.encode': [text],
  'urlquery.encode_object': [objectOf(either(text, scalar), either(text, texts, any))],
  'uuid.parse': [uuid],
  walk: [any],
};

/** Arguments that suit each other. */
export const joint: Readonly<Record<string, (draw: Draw) => readonly Value[]>> = {
  'time.parse_ns': (draw) => {
    const written = layout(draw);
    if (draw.chance(3)) return draw.one(formatted);
    const pieces = Array.from({ length: 1 + draw.below(5) }, () => draw.below(layouts.length));
    const between = draw.one(['', ' ', '-', '/']);
    const first = pieces.map((index) => layouts[index]?.[0] ?? '').join(between);
    if (draw.chance(4)) return [written, first];
    return [first, pieces.map((index) => draw.one(layouts[index]?.[1] ?? [''])).join(between)];
  },
};
