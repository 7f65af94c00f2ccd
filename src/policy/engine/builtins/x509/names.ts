import { decodeUtf8, loneByte } from '../../values/utf8.ts';
import { RegoObject, type Value } from '../../values/values.ts';
import { BuiltinError } from '../builtin.ts';
import { DerReader, tag } from './der.ts';

/** A distinguished name (RFC 5280 section 4.1.2.4) as Go's pkix.Name has it. */
export function readName(whole: Buffer, read: (kind: number, content: Buffer) => Value = readText): Value {
  const names: (readonly [readonly number[], Value])[] = [];
  const sets = new DerReader(whole).enter(tag.sequence);
  while (!sets.isEmpty) {
    const set = sets.enter(tag.set);
    while (!set.isEmpty) {
      const attribute = set.enter(tag.sequence);
      const type = attribute.identifier();
      const { tag: kind, content } = attribute.read();
      names.push([type, read(kind, content)]);
    }
  }
  const all = (number: number): string[] =>
    names
      .filter(([type]) => type.join('.') === `2.5.4.${number}`)
      .flatMap(([, value]) => (typeof value === 'string' ? [value] : []));
  const list = (number: number): Value => (all(number).length > 0 ? all(number) : null);
  return new RegoObject([
    ['CommonName', all(3).at(-1) ?? ''],
    ['SerialNumber', all(5).at(-1) ?? ''],
    ['Country', list(6)],
    ['Locality', list(7)],
    ['Province', list(8)],
    ['StreetAddress', list(9)],
    ['Organization', list(10)],
    ['OrganizationalUnit', list(11)],
    ['PostalCode', list(17)],
    ['ExtraNames', null],
    [
      'Names',
      names.length === 0
        ? null
        : names.map(
            ([type, value]) =>
              new RegoObject([
                ['Type', type],
                ['Value', value],
              ]),
          ),
    ],
  ]);
}

/** The kinds of texts that a name may have, as Go reads them. */
export function readText(kind: number, content: Buffer): string {
  const latin = content.toString('latin1');
  const checked = (allowed: RegExp): string => {
    if (!allowed.test(latin)) throw new BuiltinError('a character that may not be there');
    return latin;
  };
  switch (kind) {
    case tag.t61String:
      return latin;
    case tag.printableString:
      return checked(/^[A-Za-z0-9'()+,\-./ :=?*&]*$/);
    case tag.ia5String:
      return checked(/^\p{ASCII}*$/u);
    case tag.numericString:
      return checked(/^[0-9 ]*$/);
    case tag.bmpString:
      return readBmp(content);
    case tag.utf8String: {
      const text = decodeUtf8(content);
      if (loneByte.test(text)) throw new BuiltinError('not UTF-8');
      return text;
    }
    default:
      throw new BuiltinError('not a text');
  }
}

/** Two bytes a character, none of them of a pair; a zero at the end is left out. */
function readBmp(content: Buffer): string {
  if (content.length % 2 !== 0) throw new BuiltinError('not a BMPString');
  const units = Array.from({ length: content.length / 2 }, (_, at) => content.readUInt16BE(at * 2));
  if (units.at(-1) === 0) units.pop();
  const isRefused = (unit: number): boolean =>
    unit >= 0xfffe || (unit >= 0xfdd0 && unit <= 0xfdef) || (unit >= 0xd800 && unit <= 0xdfff);
  if (units.some(isRefused)) throw new BuiltinError('not a BMPString');
  return units.map((unit) => String.fromCharCode(unit)).join('');
}
