import { BuiltinError } from '../builtin.ts';
import { type DerReader, tag } from './der.ts';

/** A UTCTime or a GeneralizedTime of UTC (RFC 5280 section 4.1.2.5), as seconds since the Unix epoch. */
export function readTime(reader: DerReader): bigint {
  const { tag: kind, content } = reader.read();
  const text = content.toString('latin1');
  const form =
    kind === tag.utcTime
      ? /^(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})?Z$/
      : kind === tag.generalizedTime
        ? /^(\d{4})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})Z$/
        : undefined;
  const [, year = '', month = '', day = '', hour = '', minute = '', second = '00'] = form?.exec(text) ?? [];
  // RFC 5280 section 4.1.2.5.1: two digits are of 1950 to 2049.
  const full = year.length === 2 ? (year < '50' ? '20' : '19') + year : year;
  const iso = `${full}-${month}-${day}T${hour}:${minute}:${second}`;
  const at = new Date(`${iso}.000Z`).getTime();
  // What is no day of the calendar is read as another one.
  if (year === '' || Number.isNaN(at) || !new Date(at).toISOString().startsWith(iso))
    throw new BuiltinError('not a time');
  return BigInt(at / 1_000);
}

export const formatTime = (seconds: bigint): string =>
  new Date(Number(seconds) * 1_000).toISOString().replace('.000Z', 'Z');
