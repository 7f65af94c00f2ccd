import { arrayOf, either, type Generator, objectOf, of, ofList, scalar, setOf, text } from './draw.ts';

const globPiece = ofList(
  '*¦**¦?¦a¦b¦ab¦/¦.¦-¦:¦{¦}¦,¦{a,b}¦{a*,}¦{,b}¦{a,{b,c}}¦{}¦{*,**}¦[ab]¦[!a]¦[a-c]¦[!a-c]¦[a-]¦[]' +
    '¦[¦]¦[\\]]¦[!-a]¦[\\-x]¦[]-a]¦\\*¦\\¦\\\\¦é¦🎉¦[é-ü]¦$',
);
export const glob: Generator<string> = (draw) => draw.list(6, globPiece).join('');
export const globText: Generator<string> = (draw) =>
  draw.chance(5) ? text(draw) : draw.list(8, ofList('a¦b¦c¦/¦.¦-¦:¦ab¦é¦🎉¦*¦,¦]')).join('');
export const separators = either(
  of(null, [], ['.'], ['/'], ['/', '-', ':'], ['é'], ['🎉'], ['a'], ['*'], [''], ['ab']),
  arrayOf(text, 2),
);

const octets = ofList('10¦0¦1¦127¦128¦192¦255¦256¦01¦');
const prefix = ofList('/8¦/16¦/24¦/28¦/30¦/31¦/32¦/33¦/0¦/08¦/¦/-1¦/+8¦/96¦/104¦/120¦/127¦/128¦/129¦/64¦');
const fixedAddress = ofList(
  '10.0.0.0¦10.1.2.3¦10.1.2.4¦10.0.0.1¦192.168.1.1¦192.168.1.255¦255.255.255.255¦2001:db8::' +
    '¦2001:db8::1¦2001:db8:1::ffff¦::ffff:10.1.2.3¦::ffff:10.0.0.0¦::¦::1¦fe80::1%eth0¦1.2.3¦1:2' +
    '¦2001:db8::10.1.2.3¦FFFF::¦2001:DB8:0:0:0:0:0:1¦1:2:3:4:5:6:7::¦::2:3:4:5:6:7:8¦1::2::3',
);
export const address: Generator<string> = (draw) =>
  draw.chance(4) ? Array.from({ length: 4 }, () => octets(draw)).join('.') : fixedAddress(draw);
export const cidr: Generator<string> = (draw) => `${address(draw)}${prefix(draw)}`;
export const smallCidr: Generator = (draw) => {
  const front = address(draw);
  const lengths = front.includes(':')
    ? ['/123', '/126', '/128', '/127', '/129', '']
    : ['/28', '/30', '/32', '/31', '/029', '/33'];
  return front + draw.one(lengths);
};
export const plainCidr: Generator = (draw) =>
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
export const matched = either(
  cidr,
  address,
  arrayOf(either(cidr, address, arrayOf(cidr, 2))),
  setOf(either(cidr, address)),
  objectOf(text, cidr),
  scalar,
);

const regexPiece = ofList(
  'a¦b¦ab¦.¦a*¦b+¦a?¦a*?¦(a)¦(b|c)¦(?:ab)+¦(a)|(b)¦^¦$¦\\b¦\\B¦\\A¦\\z¦\\Z¦[a-c]¦[^a]¦[[:alpha:]]' +
    '¦[[:foo:]]¦\\d¦\\w+¦\\s¦\\pL¦\\p{Greek}¦\\p{Foo}¦\\P{Lu}¦(?i)¦(?i:k)¦(?s)¦(?m)¦(?U)¦(?x)¦(?P<n>a)' +
    '¦(?<n>b)¦(?<m>b)¦(?=a)¦(?<=a)¦a{2}¦a{1,2}¦a{,2}¦a{2,1}¦a{1001}¦a{1000}¦(a{10}){100}' +
    '¦((a{10}){10}){11}¦a**¦a{2}{3}¦(¦)¦[¦]¦{¦}¦|¦\\¦\\Q*¦\\E¦\\x41¦\\x{1F389}¦\\07¦\\1¦\\C¦\\_¦\\-¦é¦🎉¦ſ¦[a-' +
    '¦[b-a]¦[\\d-z]¦()¦(|a)¦[]a]¦[^]a]¦ ¦\\n¦*¦+¦?',
);
/** Without two groups of one name, which Go takes and re2js does not. */
export const pattern: Generator<string> = (draw) => {
  const made = draw.chance(12) ? text(draw) : draw.list(4, regexPiece).join('');
  return made.replaceAll('(?<n>', '(?P<n>').replace(/(\(\?P?<[nm]>)(.*)\1/g, '$1$2(');
};
export const subject: Generator<string> = (draw) =>
  draw.chance(6) ? text(draw) : draw.list(10, ofList('a¦b¦c¦ab¦A¦K¦ſ¦é¦🎉¦ ¦1¦\n¦_¦α')).join('');
export const replacement = ofList(
  '¦-¦$1¦${1}¦$1x¦${1}x¦$n¦${n}-¦$$¦$¦${¦${}¦$0¦$01¦$9¦\\1¦é$0¦${a b}¦$é¦$🎉',
);
export const template: Generator<string> = (draw) =>
  draw.list(4, ofList('a¦<[a-z]+>¦<b>¦<¦>¦c.¦<(>¦<a<b>>¦|¦[a]')).join('');
