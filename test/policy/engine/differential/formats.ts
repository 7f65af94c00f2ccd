import { RegoObject } from '../../../../src/policy/engine/values/values.ts';
import { either, type Generator, listOf, objectOf, of, ofList, scalar } from './draw.ts';
import { path, tree } from './shapes.ts';

const directive: Generator<string> = (draw) =>
  `%${draw.list(2, ofList('+¦-¦#¦ ¦0')).join('')}${draw.chance(3) ? draw.one(listOf('1¦5¦12¦*¦[1]*¦[2]¦007¦1000001')) : ''}${
    draw.chance(3) ? draw.one(listOf('.¦.0¦.2¦.7¦.*¦.20¦.[1]*')) : ''
  }${draw.chance(8) ? draw.one(listOf('[1]¦[2]¦[3]¦[0]¦[x]¦[¦[9]')) : ''}${draw.one(Array.from('vvssddqxXbocUeEfFgGtTOw%!é'))}`;
export const format: Generator<string> = (draw) =>
  draw
    .list(3, (inner) => (inner.chance(3) ? inner.one(listOf('¦a¦%¦é¦%%¦%d¦%s¦%v')) : directive(inner)))
    .join(draw.one(['', ' ', '-']));
const identifier: Generator<string> = ofList('0¦1¦2¦10¦01¦a¦alpha¦beta¦x-y¦¦1a¦A');
export const version: Generator<string> = (draw) =>
  draw.one(listOf('¦¦v¦V¦=')) +
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
export const amount: Generator<string> = (draw) =>
  draw.one(
    listOf(
      '1¦10¦1.5¦0.1¦.5¦5.¦-1¦+2¦1e3¦1E3¦1e¦100¦9007199254740993¦1.23456789012345¦1_0¦¦0x1¦1e-3¦33¦1.0' +
        '¦1e4000',
    ),
  ) + draw.one(listOf('¦K¦k¦M¦m¦Mi¦mi¦MI¦G¦Gi¦KB¦kb¦KiB¦MiB¦EiB¦E¦e¦Ei¦B¦P¦T¦ti¦ K¦Kb¦kib¦"¦é¦m"'));
const hexDigits: Generator<string> = (draw) =>
  Array.from({ length: draw.one([32, 32, 12, 31]) }, () =>
    draw.one(Array.from('0123456789abcdefABCDEF')),
  ).join('');
export const uuid: Generator<string> = (draw) => {
  const hex = hexDigits(draw);
  const version = hex.slice(0, 12) + draw.one(listOf('1¦2¦3¦4¦7¦6')) + hex.slice(13);
  const dashed = version.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  return (
    draw.one(listOf('¦¦¦{¦urn:uuid:¦URN:UUID:¦(¦urn:')) +
    draw.one([dashed, dashed, dashed, version]) +
    draw.one(listOf('¦¦¦}¦)¦x'))
  );
};
export const query: Generator<string> = (draw) =>
  draw.list(5, ofList('a¦b¦=¦&¦+¦%20¦%zz¦%¦%C3%A9¦%ff¦é¦;¦a=1¦&&')).join('');
/** OPA panics where the document itself is removed. */
const place = either(
  ofList('/¦a¦a/b¦/a/b/c¦a/0¦0¦1/a¦//a¦a~1b¦~0¦b/1¦a/-¦-¦a/01¦a/2'),
  of(['a'], ['a', 'b'], ['a', 0], ['0'], [1], ['a', 'b', 1], ['b', null]),
);
export const operation: Generator = (draw) => {
  const op = draw.one(['add', 'add', 'remove', 'replace', 'move', 'copy', 'test', 'x']);
  return new RegoObject([
    ['op', op],
    ['path', op === 'add' || op === 'replace' || op === 'test' ? path(draw) : place(draw)],
    ...(draw.chance(4) ? [] : [['value', tree(draw)] as const]),
    ...(draw.chance(3) ? [] : [['from', place(draw)] as const]),
  ]);
};
export const options = objectOf(
  of('pretty', 'indent', 'prefix', 'x'),
  either(of(true, false), of('', ' ', '\t', '>>'), scalar),
  3,
);
const segment: Generator<string> = (draw) =>
  Buffer.from(
    draw.one(
      listOf(
        '{}¦{"alg":"HS256"}¦{"alg":"none","kid":"é"}¦{"cty":"JWT"}¦{"enc":"x"}¦[]¦{¦1¦{"a":1e400}' +
          '¦{"n":1.0}¦null¦"a"',
      ),
    ),
  ).toString('base64url') + draw.one(listOf('¦¦¦=¦==¦\n¦!'));
export const token: Generator<string> = (draw) =>
  Array.from({ length: draw.one([3, 3, 3, 2, 4]) }, () =>
    draw.chance(8) ? draw.one(['', 'AA', '_-', 'a']) : segment(draw),
  ).join('.');
