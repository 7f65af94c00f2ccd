import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type PrincipalClass, type PrincipalRef, tenantId } from '../../../src/ids.ts';
import { HEAD_BYTES, Heads, principalHash } from '../../../src/storage/log/heads.ts';
import { type Found, type Position, recordStore } from '../../../src/storage/log/records.ts';
import { placesOf, SEGMENT_RECORDS, sealSegment } from '../../../src/storage/log/segments.ts';
import { openReader } from '../../../src/storage/reader.ts';
import { Writer } from '../../../src/storage/writer.ts';
import { appendRows } from '../store.ts';

const names = [undefined, ref('user', 'a'), ref('user', 'b'), ref('agent', 'a'), ref('user', '\u{1f600}')];
const principal = fc.constantFrom(...names);

function ref(cls: PrincipalClass, id: string): PrincipalRef {
  return { class: cls, id };
}

test('a sealed segment finds every record of a principal, the latest first, and no other but by a hash', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ subject: principal, actor: principal }), { maxLength: 300 }),
      fc.integer({ min: 1, max: 50 }),
      (records, runLength) => {
        const bytes = new Uint8Array(records.length * HEAD_BYTES);
        const heads = Heads.stored(bytes);
        for (const [at, { subject, actor }] of records.entries())
          heads.put(at, 0, 1, 0, principalHash(subject), principalHash(actor), 'decision', 'allow', at);
        const runs = Array.from({ length: Math.ceil(records.length / runLength) }, (_, run) =>
          Heads.stored(bytes.slice(run * runLength * HEAD_BYTES, (run + 1) * runLength * HEAD_BYTES)),
        );
        const { principals: blob } = sealSegment(runs);
        for (const wanted of [...names.slice(1), ref('user', 'nobody')]) {
          const expected = records.flatMap((each, at) =>
            each.subject === wanted || each.actor === wanted ? [at] : [],
          );
          expect(placesOf(blob, principalHash(wanted))).toEqual(expected.toReversed());
        }
      },
    ),
  );
});

test('a principal is found in sealed segments, across their borders and behind the last of them', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'mandate-segments-'));
  try {
    await using writer = await Writer.open({ folder });
    const { value } = await writer.run('putTenant', { id: tenantId('acme') });
    const total = 2 * SEGMENT_RECORDS + 100;
    const rare = new Set([
      0,
      7,
      SEGMENT_RECORDS - 1,
      SEGMENT_RECORDS,
      2 * SEGMENT_RECORDS - 1,
      2 * SEGMENT_RECORDS + 50,
    ]);
    const rows = Array.from({ length: total }, (_, at) => ({
      tenantNo: value.no,
      time: 1_000 + at,
      kind: 'decision' as const,
      outcome: 'allow' as const,
      subject: principalHash(rare.has(at) ? ref('user', 'rare') : ref('user', `u${at % 1_000}`)),
      actor: principalHash(at === 7 ? ref('agent', 'helper') : undefined),
      caller: 1,
      names: { resource: 0, grant: 0, action: 0, reason: 0, earlier: 1, revision: 1 },
      key: at,
      body: '{}',
    }));
    await appendRows(writer, rows);
    using reader = {
      db: openReader(folder),
      [Symbol.dispose]() {
        this.db.close();
      },
    };
    const store = recordStore(reader.db);
    const found = (name: PrincipalRef): number[] => {
      const indexes: number[] = [];
      let from: Position | undefined = { order: 'newest', at: store.size(value.no) };
      for (let page = 0; from && page < 100; page += 1) {
        const { found, next }: Found<number> = store.search(
          value.no,
          { principal: name },
          from,
          2,
          (each) => each.index,
        );
        indexes.push(...found);
        from = next;
      }
      return indexes;
    };
    expect(found(ref('user', 'rare'))).toEqual([...rare].toSorted((one, other) => other - one));
    expect(found(ref('agent', 'helper'))).toEqual([7]);
    expect(found(ref('user', 'nobody'))).toEqual([]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
