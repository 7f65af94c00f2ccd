import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { tenantId } from '../../src/ids.ts';
import { openReader } from '../../src/storage/database.ts';
import { recordStore } from '../../src/storage/records.ts';
import { placesOf, SEGMENT_RECORDS, sealSegment } from '../../src/storage/segments.ts';
import { Writer } from '../../src/storage/writer.ts';

const principal = fc.constantFrom('', 'user:a', 'user:b', 'agent:a', 'user:\u{1f600}');

test('a sealed segment finds every record of a principal, the latest first, and no other but by a hash', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ subject: principal, actor: principal }), { maxLength: 300 }),
      (records) => {
        const blob = sealSegment(records);
        for (const wanted of ['user:a', 'user:b', 'agent:a', 'user:\u{1f600}', 'user:nobody']) {
          const expected = records.flatMap((each, at) =>
            each.subject === wanted || each.actor === wanted ? [at] : [],
          );
          expect(placesOf(blob, wanted)).toEqual(expected.toReversed());
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
    await writer.appendAll(
      Array.from({ length: total }, (_, at) => ({
        tenantNo: value.no,
        time: 1_000 + at,
        kind: 'decision',
        outcome: 'allow',
        subject: rare.has(at) ? 'user:rare' : `user:u${at % 1_000}`,
        actor: at === 7 ? 'agent:helper' : '',
        body: '{}',
      })),
    );
    using reader = {
      db: openReader(folder),
      [Symbol.dispose]() {
        this.db.close();
      },
    };
    const store = recordStore(reader.db);
    const found = (name: string): number[] => {
      const indexes: number[] = [];
      let below = store.size(value.no);
      for (let page = 0; below > 0 && page < 100; page += 1) {
        const next = store.search(value.no, { principal: name }, below, 2);
        indexes.push(...next.records.map(({ index }) => index));
        below = next.below;
      }
      return indexes;
    };
    expect(found('user:rare')).toEqual([...rare].toSorted((one, other) => other - one));
    expect(found('agent:helper')).toEqual([7]);
    expect(found('user:nobody')).toEqual([]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
