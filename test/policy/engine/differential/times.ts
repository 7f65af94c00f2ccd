import { numberOf } from '../../../../src/policy/engine/values/numbers.ts';
import type { Value } from '../../../../src/policy/engine/values/values.ts';
import { arrayOf, type Draw, type Generator, listOf, number, ofList, scalar } from './draw.ts';

const nanoseconds: Generator = (draw) => {
  if (draw.chance(6)) return number(draw);
  const seconds = draw.below(2 ** 32) * draw.one([1, 2, -1, -2, 1, 0]) + draw.below(1_000);
  return numberOf(
    String(BigInt(seconds) * 1_000_000_000n + BigInt(draw.one([0, 0, draw.below(1e9), 120_000_000]))),
  );
};
const zone: Generator<string> = ofList(
  'UTC¦¦Europe/Berlin¦Europe/London¦America/New_York¦Asia/Kolkata¦Australia/Sydney' +
    '¦America/Sao_Paulo¦Asia/Kathmandu¦Africa/Casablanca¦America/St_Johns¦Asia/Tehran¦Pacific/Apia' +
    '¦Antarctica/Troll¦Asia/Gaza¦America/Nuuk¦Etc/GMT+5¦GMT¦Zulu¦Europe/Dublin¦Africa/Monrovia' +
    '¦Pacific/Kiritimati¦europe/berlin¦No/Where¦+01:00¦../UTC¦Europe¦Etc/Unknown¦utc¦Europe/Berlin ',
);
const layoutPiece: Generator<string> = ofList(
  '2006¦06¦01¦1¦Jan¦January¦02¦2¦_2¦002¦__2¦Mon¦Monday¦15¦03¦3¦04¦4¦05¦5¦PM¦pm¦MST¦Z07:00¦-0700' +
    '¦-07:00¦-07¦Z0700¦Z07¦-070000¦Z07:00:00¦.000¦.999999999¦,000¦.99¦.001¦_2006¦January1¦Janet¦Mona' +
    '¦ ¦  ¦-¦T¦é¦x¦20¦.¦[¦(',
);
export const layout: Generator<string> = (draw) =>
  draw.chance(2)
    ? draw.one(
        listOf(
          'RFC3339¦RFC3339Nano¦ANSIC¦UnixDate¦RubyDate¦RFC822¦RFC822Z¦RFC850¦RFC1123¦RFC1123Z¦Kitchen' +
            '¦2006-01-02¦2006-01-02T15:04:05Z07:00¦',
        ),
      )
    : draw.list(6, layoutPiece).join(draw.one(['', ' ', '-']));
export const moment: Generator = (draw) =>
  draw.one<Generator>([
    nanoseconds,
    (inner) => [nanoseconds(inner), zone(inner)],
    (inner) => [nanoseconds(inner), zone(inner), layout(inner)],
    arrayOf(scalar, 3),
  ])(draw);
export const timePiece: Generator<string> = ofList(
  '2006¦1999¦06¦69¦68¦01¦12¦13¦1¦Jan¦feb¦January¦02¦31¦30¦2¦ 2¦002¦365¦366¦060¦Mon¦Tuesday¦15¦24' +
    '¦03¦12¦3¦04¦60¦4¦05¦5¦59¦PM¦AM¦pm¦MST¦CEST¦GMT+3¦UTC¦ChST¦+03¦Z¦+01:00¦-0700¦+07¦+25:00¦-070000' +
    '¦.000¦.123456789¦,5¦.5¦ ¦  ¦-¦T¦é¦x¦0¦',
);
export const formatted = [
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
export const duration: Generator<string> = (draw) =>
  draw.one(listOf('¦¦-¦+¦--')) +
  draw
    .list(
      3,
      (inner) =>
        inner.one(
          listOf(
            '1¦1.5¦.5¦5.¦0¦00¦1e3¦9223372036854775807¦9223372036854775808¦106751¦292¦0.1¦1.1.1¦.¦' +
              '¦1.0000000000000000001',
          ),
        ) + inner.one(listOf('h¦m¦s¦ms¦us¦ns¦µs¦μs¦d¦w¦y¦¦x¦H')),
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
