import { createHash } from 'node:crypto';
import { mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AuditRecord, readRecord } from '../../src/audit/read.ts';
import { buildRecord } from '../../src/audit/record.ts';
import { parquet } from '../../src/cli/audit/export/parquet.ts';
import { csv } from '../../src/cli/audit/export/rows.ts';
import { parseVkey } from '../../src/merkle/keys.ts';
import { isNoteOf, parseNote } from '../../src/merkle/note.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import { leafOf, stated, treeOf } from '../e2e/log-by-hand.ts';
import { aliceReads, check, connect } from '../e2e/requests.ts';
import { checkpointOf, decide, decideOne } from '../e2e/served-log.ts';
import { bearer, type Running, secrets, startServer } from '../e2e/server.ts';
import { draftOf, T0 } from '../storage/store.ts';
import { at, mandate, type Ran } from './run.ts';

/** A log as one file for other programs, and what ties that to the log. */

let server: Running;
let folder: string;
let key: string;
let size: number;

const exported = (to: string, format: string): Promise<Ran> =>
  at(server)('audit', 'export', to, '-t', 'acme', '--format', format);

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-tables-'));
  server = await startServer();
  await decide(server, 300);
  await check(
    server.data,
    { ...aliceReads, resource: { type: '=cmd|x', id: 'a,"b"\nc ü \ud83d\ude80' }, context: { n: null } },
    bearer(secrets.api),
  );
  const { index } = await decideOne(server);
  size = index + 1;
  await checkpointOf(server, size);
  const asked = { tenant: 'acme' };
  key = (await connect<{ key: string }>(server.admin, 'AuditService/DescribeLog', asked)).body.key;
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

async function rowsOf(file: string): Promise<Record<string, unknown>[]> {
  const connection = await (await DuckDBInstance.create(':memory:')).connect();
  try {
    const reader = await connection.runAndReadAll(
      `SELECT * REPLACE (epoch_ms("time") AS "time") FROM read_parquet('${file}')`,
    );
    return reader.getRowObjects();
  } finally {
    connection.closeSync();
  }
}

const nameOf = (one: { class: string; id: string } | undefined): string =>
  one ? `${one.class}:${one.id}` : '';

/** What a row of a table is to say, but for its index, its time and the record itself. */
const cellsOf = (record: AuditRecord) => ({
  kind: record.kind,
  outcome: record.outcome,
  subject: nameOf(record.subject),
  actors: record.actors.map(nameOf).join(' '),
  target: nameOf(record.target),
  action: record.action,
  resource: record.resource.type === '' ? '' : `${record.resource.type}:${record.resource.id}`,
  reasons: record.reasons.map(({ code }) => code).join(' '),
  rules: record.rules.join(' '),
  revision: record.revision,
  decision_id: record.decisionId,
  grant_id: record.grantId,
  caller: record.caller,
});

const orNull = (cells: Record<string, string>): Record<string, string | null> =>
  Object.fromEntries(Object.entries(cells).map(([name, cell]) => [name, cell || null]));

interface Manifest {
  mandate_export: number;
  format: string;
  origin: string;
  checkpoint: string;
  files: { name: string; bytes: number; sha256: string; from: number; to: number }[];
}

describe('an export of one file', () => {
  test('as Parquet holds in each row what the line of the same index does, and the record byte for byte', async () => {
    const [jsonl, table] = [path.join(folder, 'a.jsonl'), path.join(folder, 'a.parquet')];
    expect(await exported(jsonl, 'jsonl')).toMatchObject({ code: 0, stderr: '' });
    expect(await exported(table, 'parquet')).toMatchObject({ code: 0, stderr: '' });
    expect((await stat(table)).mode & 0o777).toBe(0o600);
    const lines = (await readFile(jsonl, 'utf8')).trimEnd().split('\n');
    const rows = await rowsOf(table);
    expect(lines.length).toBeGreaterThanOrEqual(size);
    // The second was made of a log that had grown by who read it for the first.
    expect(rows.length).toBeGreaterThanOrEqual(lines.length);
    for (const [index, line] of lines.entries()) {
      const text = line.slice(`{"index":${index},"record":`.length, -1);
      const record = readRecord({ index, body: Buffer.from(text) });
      expect(rows[index]).toEqual({
        index: BigInt(index),
        time: BigInt(record.time),
        ...orNull(cellsOf(record)),
        record: text,
      });
    }
    expect(rows.some(({ resource }) => resource === '=cmd|x:a,"b"\nc ü \ud83d\ude80')).toBe(true);
  });

  test.each(['jsonl', 'csv', 'parquet'])(
    'as %s has a manifest that ties it to a checkpoint',
    async (format) => {
      const to = path.join(folder, `m.${format}`);
      expect((await exported(to, format)).code).toBe(0);
      const manifest = JSON.parse(await readFile(`${to}.manifest.json`, 'utf8')) as Manifest;
      const { origin, size: entries } = stated(manifest.checkpoint);
      expect(entries).toBeGreaterThanOrEqual(size);
      expect(isNoteOf(parseNote(manifest.checkpoint), parseVkey(key))).toBe(true);
      const bytes = await readFile(to);
      expect(manifest).toEqual({
        mandate_export: 1,
        format,
        origin,
        checkpoint: manifest.checkpoint,
        files: [
          {
            name: `m.${format}`,
            bytes: bytes.length,
            sha256: createHash('sha256').update(bytes).digest('hex'),
            from: 0,
            to: entries,
          },
        ],
      });
    },
  );

  test('as JSON Lines makes the root of its checkpoint by hand', async () => {
    const to = path.join(folder, 'root.jsonl');
    await exported(to, 'jsonl');
    const { checkpoint } = JSON.parse(await readFile(`${to}.manifest.json`, 'utf8')) as Manifest;
    const lines = (await readFile(to, 'utf8')).trimEnd().split('\n');
    const leaves = lines.map((line, index) =>
      leafOf(Buffer.from(line.slice(`{"index":${index},"record":`.length, -1))),
    );
    expect(treeOf(leaves)).toEqual(stated(checkpoint).root);
  });
});

/** Serves the log as the server does, but for one byte of an entry. */
async function liar(): Promise<http.Server> {
  const lying = http.createServer((request, response) => {
    void fetch(`${server.admin}${request.url ?? ''}`).then(async (answer) => {
      const bytes = Buffer.from(await answer.arrayBuffer());
      const place = request.url?.includes('/tile/entries/000') ? bytes.indexOf('alice') : -1;
      if (place >= 0) bytes.write('mal', place);
      response.writeHead(answer.status).end(bytes);
    });
  });
  await new Promise<void>((resolve) => lying.listen(0, '127.0.0.1', resolve));
  return lying;
}

test.each(['jsonl', 'csv', 'parquet'])(
  'of entries that are not those of the checkpoint no %s is left, and what was there stays',
  async (format) => {
    const lying = await liar();
    try {
      const place = await mkdtemp(path.join(folder, 'lied-'));
      const to = path.join(place, 'a');
      await writeFile(to, 'as it was');
      const admin = `http://127.0.0.1:${(lying.address() as AddressInfo).port}`;
      const args = ['audit', 'export', to, '-t', 'acme', '--node', 'main', '--format', format];
      const { code, stderr } = await mandate(['--admin', admin, ...args]);
      expect({ code, stderr }).toEqual({
        code: 2,
        stderr: expect.stringContaining("are not those that the log's checkpoint states") as string,
      });
      expect(await readdir(place)).toEqual(['a']);
      expect(await readFile(to, 'utf8')).toBe('as it was');
    } finally {
      lying.close();
      lying.closeAllConnections();
    }
  },
);

describe('the manifest of JSON Lines', () => {
  let file: string;
  const verified = (...more: string[]): Promise<Ran> =>
    mandate(['audit', 'verify', `${file}.manifest.json`, '--key', key, ...more]);
  beforeAll(async () => {
    file = path.join(await mkdtemp(path.join(folder, 'proved-')), 'acme.jsonl');
    await exported(file, 'jsonl');
  });

  test('proves them by the key of the log alone', async () => {
    const { code, stdout } = await verified();
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^proved +\S+\/t\/acme\/log\/main: \d+ entries\n$/) as string,
    });
  });

  const changes: Record<string, (lines: string[]) => void> = {
    'a name that was changed': (lines) => {
      lines[100] = lines[100]?.replace('alice', 'malle') ?? '';
    },
    'a line left out': (lines) => void lines.splice(100, 1),
    'the last line left out': (lines) => void lines.splice(-2, 1),
    'two swapped': (lines) => {
      const [one = '', two = ''] = lines.slice(100, 102);
      lines.splice(100, 2, two, one);
    },
    'two swapped with their indexes': (lines) => {
      const [one = '', two = ''] = lines.slice(100, 102);
      lines.splice(100, 2, two.replace(':101,', ':100,'), one.replace(':100,', ':101,'));
    },
    'one more': (lines) =>
      void lines.splice(-1, 0, (lines[100] ?? '').replace(':100,', `:${lines.length - 1},`)),
    'a space more': (lines) => {
      lines[100] = `${lines[100]} `;
    },
    'one that has no end': (lines) => {
      lines[100] = `{"index":100,"record":${'x'.repeat(1_000_000)}`;
    },
  };

  test.each(Object.entries(changes))('proves nothing of %s', async (_what, change) => {
    const whole = await readFile(file, 'utf8');
    try {
      const lines = whole.split('\n');
      change(lines);
      await writeFile(file, lines.join('\n'));
      const { code, stdout } = await verified();
      expect({ code, stdout }).toEqual({
        code: 1,
        stdout: expect.stringMatching(/^NOT PROVED /) as string,
      });
    } finally {
      await writeFile(file, whole);
    }
  });

  test('with another checkpoint, log or sum proves nothing, and one that is none is refused', async () => {
    const name = `${file}.manifest.json`;
    const whole = await readFile(name, 'utf8');
    const manifest = JSON.parse(whole) as Manifest;
    const [one] = manifest.files;
    const { size: entries } = stated(manifest.checkpoint);
    const put = async (changed: object): Promise<number> => {
      await writeFile(name, JSON.stringify({ ...manifest, ...changed }));
      return (await verified()).code;
    };
    try {
      const { checkpoint } = manifest;
      expect(await put({})).toBe(0);
      expect(await put({ checkpoint: checkpoint.replace(`\n${entries}\n`, `\n${entries - 1}\n`) })).toBe(1);
      expect(await put({ origin: 'example.com/other' })).toBe(1);
      expect(await put({ files: [{ ...one, sha256: '0'.repeat(64) }] })).toBe(1);
      expect(await put({ files: [{ ...one, to: entries - 1 }] })).toBe(1);
      // Nothing beside it, above it or of another version is read.
      expect(await put({ files: [{ ...one, name: '../acme.jsonl' }] })).toBe(2);
      expect(await put({ mandate_export: 2 })).toBe(2);
      expect(await put({ surplus: 1 })).toBe(2);
      expect(await put({ format: 'csv' })).toBe(2);
      expect(await put({ files: [{ ...one, name: 'gone.jsonl' }] })).toBe(2);
    } finally {
      await writeFile(name, whole);
    }
  });
});

test.each(['=1', '+1', '-1', '@a', '\t=1', '\r=1', '\n=1', '＝1', '＋1', '－1', '＠a'])(
  'a cell of CSV that begins as %j does is text to a spreadsheet',
  async (name) => {
    const file = path.join(folder, `${Buffer.from(name).toString('hex')}.csv`);
    await using out = await open(file, 'wx');
    const sink = csv(out);
    const { body } = buildRecord(draftOf(1 as TenantNo, { caller: name }));
    await sink.write([{ index: 0, body: Buffer.from(body) }]);
    await sink.end();
    const cell = (await readFile(file, 'utf8')).split(',').at(-1)?.slice(0, -2);
    expect(cell).toBe(/[\r\n]/.test(name) ? `"'${name}"` : `'${name}`);
  },
);

test('a Parquet file of many row groups has every record once and in order, and none at all where there is none', async () => {
  const write = async (name: string, count: number): Promise<string> => {
    const file = path.join(folder, name);
    await using out = await open(file, 'wx');
    const sink = parquet(out, 'a log');
    for (let first = 0; first < count; first += 256)
      await sink.write(
        Array.from({ length: Math.min(256, count - first) }, (_, place) => {
          const [index, time] = [first + place, T0 + first + place];
          const draft = draftOf(1 as TenantNo, { time, caller: `service:s${index % 1_000}` });
          return { index, body: Buffer.from(buildRecord(draft).body) };
        }),
      );
    await sink.end();
    return file;
  };
  const rows = await rowsOf(await write('groups.parquet', 40_000));
  expect(rows).toHaveLength(40_000);
  expect(
    rows.every(({ index, time, caller }, at) => {
      return index === BigInt(at) && time === BigInt(T0 + at) && caller === `service:s${at % 1_000}`;
    }),
  ).toBe(true);
  expect(await rowsOf(await write('empty.parquet', 0))).toEqual([]);
});
