import { readFileSync, writeFileSync } from 'node:fs';
import { deflateRawSync, inflateRawSync } from 'node:zlib';

/**
 * Packs the time zone database for the engine: `node tools/timezones.ts "$(go env GOROOT)/lib/time/zoneinfo.zip"`. It is
 * the one that the pinned compiler falls back to, so that a decision does not depend on the host's.
 */
const [source = ''] = process.argv.slice(2);
const target = new URL('../src/policy/engine/builtins/time/packed.ts', import.meta.url);

/** Local headers of a ZIP file, one after another. */
function* filesIn(zip: Buffer): Generator<readonly [name: string, content: Buffer]> {
  for (let at = 0; zip.readUInt32LE(at) === 0x04034b50; ) {
    const method = zip.readUInt16LE(at + 8);
    const size = zip.readUInt32LE(at + 18);
    const nameLength = zip.readUInt16LE(at + 26);
    const start = at + 30 + nameLength + zip.readUInt16LE(at + 28);
    const packed = zip.subarray(start, start + size);
    const name = zip.toString('utf8', at + 30, at + 30 + nameLength);
    if (!name.endsWith('/')) yield [name, method === 0 ? packed : inflateRawSync(packed)];
    at = start + size;
  }
}

/** RFC 9636: the second block, whose times have 64 bits, as `types|changes|rule`. */
function lineOf(file: Buffer): string {
  const [isUtCount = 0, isStdCount = 0, leapCount = 0, timeCount = 0, typeCount = 0, charCount = 0] =
    countsAt(file, 20);
  const second = 44 + timeCount * 5 + typeCount * 6 + charCount + leapCount * 8 + isStdCount + isUtCount;
  const [isUts = 0, isStds = 0, leaps = 0, times = 0, types = 0, chars = 0] = countsAt(file, second + 20);
  const start = second + 44;
  const typesAt = start + times * 9;
  const names = file.subarray(typesAt + types * 6, typesAt + types * 6 + chars);
  const written = Array.from({ length: types }, (_, index) => {
    const at = typesAt + index * 6;
    const name = names.toString('latin1', file[at + 5], names.indexOf(0, file[at + 5]));
    return `${file.readInt32BE(at)} ${file[at + 4]} ${name}`;
  });
  let before = 0;
  const changes = Array.from({ length: times }, (_, index) => {
    const time = Number(file.readBigInt64BE(start + index * 8));
    const step = (time - before).toString(36);
    before = time;
    return `${step} ${file[start + times * 8 + index]}`;
  });
  const ruleAt = typesAt + types * 6 + chars + leaps * 12 + isStds + isUts + 1;
  return `${written.join(',')}|${changes.join(',')}|${file.toString('latin1', ruleAt).trim()}`;
}

function countsAt(file: Buffer, at: number): number[] {
  return Array.from({ length: 6 }, (_, index) => file.readUInt32BE(at + index * 4));
}

const names = new Map<string, string[]>();
for (const [name, content] of filesIn(readFileSync(source))) {
  if (content.toString('latin1', 0, 4) !== 'TZif') continue;
  const line = lineOf(content);
  names.set(line, [...(names.get(line) ?? []), name]);
}
const lines = Array.from(names, ([line, zones]) => `${zones.join(',')}|${line}`);
const packed = deflateRawSync(lines.join('\n'), { level: 9 }).toString('base64');
writeFileSync(
  target,
  `/** The time zone database, written by tools/timezones.ts: deflated lines of \`names|types|changes|rule\`. */\nexport const packedZones =\n  '${packed}';\n`,
);
console.log(`${lines.length} zones, ${packed.length} characters`);
