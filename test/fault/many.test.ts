import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { expect, test } from 'vitest';
import { verifyStore } from '../../src/audit/proof/verify-store.ts';
import { recordStore } from '../../src/storage/log/records.ts';
import { openReader } from '../../src/storage/reader.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import { openStore, temporaryFolder } from '../storage/store.ts';

const script = path.resolve(import.meta.dirname, 'many.ts');
const KILLS = 3;

/** What was answered until it was killed. */
async function killed(folder: string, life: number): Promise<[TenantNo, number, string][]> {
  const child = spawn(process.execPath, [script, folder, String(life)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let told = '';
  child.stdout.on('data', (chunk: Buffer) => {
    const isFirst = told === '';
    told += chunk.toString();
    if (isFirst) setTimeout(() => child.kill('SIGKILL'), 150 + Math.random() * 250);
  });
  await once(child, 'close');
  const lines = told.slice(0, told.lastIndexOf('\n')).split('\n');
  return lines.map((line) => JSON.parse(line) as [TenantNo, number, string]);
}

test('killed while records of many tenants wait to be filed: what was answered is there, once, before and after', async () => {
  await using place = await temporaryFolder();
  const answered: [TenantNo, number, string][] = [];
  let unfiled = 0;
  const isAllThere = (): void => {
    const reader = openReader(place.folder);
    try {
      unfiled = Math.max(
        unfiled,
        reader.prepare<[], number>('SELECT count(*) FROM journal').pluck().get() ?? 0,
      );
      const records = recordStore(reader);
      const logs = new Map<TenantNo, string[]>();
      for (const no of new Set(answered.map(([each]) => each))) {
        const { records: read } = records.read(no, 0, 1_000_000);
        expect(read.map(({ index }) => index)).toEqual(read.map((_, at) => at));
        const bodies = read.map(({ body }) => Buffer.from(body).toString());
        expect(new Set(bodies).size).toBe(bodies.length);
        logs.set(no, bodies);
      }
      expect(answered.filter(([no, index, body]) => logs.get(no)?.[index] !== body)).toEqual([]);
      const options = { policy: { logs: [], quorum: undefined }, kept: [], progress: () => undefined };
      expect([...verifyStore(reader, options)].flatMap(({ faults }) => faults)).toEqual([]);
    } finally {
      reader.close();
    }
  };
  for (let life = 0; life < KILLS; life += 1) {
    answered.push(...(await killed(place.folder, life)));
    isAllThere();
  }
  expect(unfiled).toBeGreaterThan(0);
  await (await openStore(place.folder))[Symbol.asyncDispose]();
  isAllThere();
  expect(answered.length).toBeGreaterThan(KILLS * 40);
});
