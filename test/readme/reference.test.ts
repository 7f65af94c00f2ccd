import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { Code } from '@connectrpc/connect';
import { describe, expect, test } from 'vitest';
import { errorCodes } from '../../src/errors.ts';
import { errorForms } from '../../src/server/errors.ts';
import { createMetrics } from '../../src/telemetry/metrics.ts';

/** docs/reference.md names everything that the code does. */

const repository = path.resolve(import.meta.dirname, '../..');
const page = await readFile(path.join(repository, 'docs/reference.md'), 'utf8');

/** The cells of each row of a section's table, by what the first one names. */
function rowsOf(section: string): Map<string, readonly string[]> {
  const text = page.split(`\n## ${section}\n`)[1]?.split('\n## ')[0] ?? '';
  const rows = text.split('\n').filter((line) => line.startsWith('| `'));
  return new Map(
    rows.flatMap((line) => {
      const [first = '', ...rest] = line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim());
      return namesIn(first).map((name) => [name, rest] as const);
    }),
  );
}

const namesIn = (cell: string): string[] => [...cell.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name);

const grpcName = (code: Code): string =>
  (Code[code] ?? '').replace(/(?<=[a-z])(?=[A-Z])/g, '_').toUpperCase();

describe('docs/reference.md', () => {
  test('has every error code, with the status it has in each protocol', () => {
    const rows = rowsOf('Error codes');
    expect([...rows.keys()]).toEqual([...errorCodes]);
    for (const [code, { http, grpc, oauth }] of Object.entries(errorForms))
      expect(rows.get(code)?.slice(0, 3), code).toEqual([String(http), grpcName(grpc), `\`${oauth}\``]);
  });

  test("has every reason code of the platform's policy", async () => {
    const rows = rowsOf('Reason codes');
    const folder = path.join(repository, 'policies/platform');
    // What plan.rego names are parts of a plan, and no reasons.
    const files = (await readdir(folder)).filter((file) => file !== 'plan.rego');
    const sources = await Promise.all(files.map((file) => readFile(path.join(folder, file), 'utf8')));
    const verdict = await readFile(path.join(repository, 'src/verdict.ts'), 'utf8');
    const codes = [
      ...sources.flatMap((text) => [...text.matchAll(/"code": "(\w+)"|contains "(\w+)"/g)]),
      ...verdict.matchAll(/code: '(\w+)'/g),
    ].map(([, named, bare]) => named ?? bare);
    expect(codes.length).toBeGreaterThan(7);
    for (const code of codes) expect(rows.has(code ?? ''), code).toBe(true);
  });

  test('has every metric, with its labels', async () => {
    const none = (): number => 0;
    using metrics = createMetrics({
      tenantLabels: 100,
      waiting: none,
      open: none,
      tenants: none,
      degraded: none,
      bundlesStale: none,
      threadAnswers: none,
      threads: none,
      accepting: () => ({ threads: 0, decided: 0, handed: 0 }),
      disputes: none,
      keeping: none,
      ready: none,
      unstated: none,
      stateAge: none,
      followers: none,
      sinks: () => [],
      shipping: () => [],
    });
    const types = [...(await metrics.text()).matchAll(/^# TYPE (mandate_\w+) (\w+)$/gm)];
    const rows = rowsOf('Metrics');
    expect([...rows.keys()].sort()).toEqual(types.map(([, name]) => name).sort());
    for (const [, name = '', type] of types) expect(rows.get(name)?.[0], name).toBe(type);
    const source = await readFile(path.join(repository, 'src/telemetry/metrics.ts'), 'utf8');
    for (const [, name = '', labels = ''] of source.matchAll(
      /name: '(mandate_\w+)',\n.*\n\s+labelNames: \[(.*)\]/g,
    ))
      expect(namesIn(rows.get(name)?.[1] ?? ''), name).toEqual(
        [...labels.matchAll(/'(\w+)'/g)].map(([, label]) => label),
      );
  });
});
