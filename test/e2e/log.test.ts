import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { failure, Grpc } from './grpc.ts';
import {
  entriesIn,
  hashesIn,
  isProved,
  isSigned,
  type Key,
  keyOf,
  leafOf,
  receiptOf,
  type Stated,
  stated,
  treeOf,
} from './log-by-hand.ts';
import { connect } from './requests.ts';
import { checkpointOf, decide, decideOne, fileOf, leavesOf, tilesOf } from './served-log.ts';
import { bearer, eventually, type Running, secrets, startServer } from './server.ts';

/** A tenant's log as strangers see it: the files of C2SP tlog-tiles, its key and its receipts. */

let server: Running;
let key: Key;
let checkpoint: Stated;
beforeAll(async () => {
  server = await startServer();
  await decide(server, 300);
  await decide(server, 300);
  checkpoint = stated(await checkpointOf(server, 600));
  key = keyOf((await described()).key);
});
afterAll(() => server[Symbol.asyncDispose]());

interface Described {
  readonly origin: string;
  readonly key: string;
  readonly checkpoint: string;
}

const described = async (tenant = 'acme'): Promise<Described> =>
  (await connect<Described>(server.admin, 'AuditService/DescribeLog', { tenant })).body;

const receipt = (record: object, tenant = 'acme') =>
  connect<{ index: string; proof: string }>(server.admin, 'AuditService/Receipt', { tenant, ...record });

const FULL = 'private, max-age=31536000, immutable';
const PARTIAL = 'private, max-age=3600';
const BYTES = 'application/octet-stream';

describe('the files of a log (C2SP tlog-tiles)', () => {
  test('the checkpoint is text that no cache answers without asking', async () => {
    const { bytes, ...file } = await fileOf(server, 'checkpoint');
    expect(file).toEqual({ status: 200, type: 'text/plain; charset=utf-8', caching: 'no-cache' });
    expect(bytes.toString()).toBe((await described()).checkpoint);
  });

  test('the checkpoint is signed by the key of the log, which is named as the log is', () => {
    expect(isSigned(checkpoint, key)).toBe(true);
    expect([key.name, checkpoint.signer]).toEqual([checkpoint.origin, checkpoint.origin]);
    expect(checkpoint.origin).toMatch(/^127\.0\.0\.1:\d+\/t\/acme\/log\/main$/);
    expect(isSigned({ ...checkpoint, text: checkpoint.text.replace(/\n\d+\n/, '\n1\n') }, key)).toBe(false);
  });

  test('the entries give level 0, level 0 the checkpoint, and full tiles of it level 1', async () => {
    const { size, root } = checkpoint;
    const leaves = await leavesOf(server, size);
    const bundles = await Promise.all(tilesOf('entries', size).map((name) => fileOf(server, name)));
    const entries = bundles.flatMap(({ bytes }) => entriesIn(bytes));
    expect(entries.map(leafOf)).toEqual(leaves);
    expect(treeOf(leaves)).toEqual(root);
    const { bytes: level1 } = await fileOf(server, 'tile/1/000.p/2');
    expect(hashesIn(level1)).toEqual([treeOf(leaves.slice(0, 256)), treeOf(leaves.slice(256, 512))]);
    const kinds = entries.map((entry) => (JSON.parse(entry.toString()) as { kind: string }).kind);
    expect(new Set(kinds)).toEqual(new Set(['administration', 'decision', 'key', 'server']));
  });

  test('what is full never changes; what is not is there in every width up to its end', async () => {
    const rest = checkpoint.size - 512;
    const full = await fileOf(server, 'tile/0/001');
    expect(full).toMatchObject({ status: 200, type: BYTES, caching: FULL });
    for (const level of ['0', 'entries']) {
      expect(await fileOf(server, `tile/${level}/000`)).toMatchObject({ status: 200, caching: FULL });
      const widest = await fileOf(server, `tile/${level}/002.p/${rest}`);
      expect(widest).toMatchObject({ status: 200, type: BYTES, caching: PARTIAL });
      for (const width of [1, 2, rest - 1]) {
        const { status, bytes } = await fileOf(server, `tile/${level}/002.p/${width}`);
        expect({ status, isPart: widest.bytes.subarray(0, bytes.length).equals(bytes) }).toEqual({
          status: 200,
          isPart: true,
        });
      }
    }
    // A reader of an older checkpoint may still ask for a tile as it was.
    const { bytes } = await fileOf(server, 'tile/0/001.p/17');
    expect(full.bytes.subarray(0, 17 * 32)).toEqual(bytes);
  });

  test('beyond the newest checkpoint there is nothing', async () => {
    const rest = checkpoint.size - 512;
    const beyond = [
      ...['0', 'entries'].flatMap((level) => [
        `tile/${level}/002`,
        `tile/${level}/002.p/${rest + 1}`,
        `tile/${level}/002.p/255`,
        `tile/${level}/003.p/1`,
        `tile/${level}/x001/000`,
        `tile/${level}/x999/x999/x999/x999/999`,
      ]),
      'tile/1/000',
      'tile/1/000.p/3',
      'tile/1/001.p/1',
      'tile/2/000.p/1',
      'tile/63/000.p/1',
    ];
    for (const name of beyond) {
      const { status, type, caching } = await fileOf(server, name);
      expect({ name, status, type, caching }).toEqual({
        name,
        status: 404,
        type: 'application/json',
        caching: null,
      });
    }
  });

  test('a tile has one name', async () => {
    const malformed = [
      'tile tile/ tile/0 tile/0/ tile/0/0 tile/0/00 tile/0/0000 tile/00/000 tile/0/000/ tile/0/000.p tile/0/000.p/',
      'tile/0/000.p/0 tile/0/000.p/01 tile/0/000.p/256 tile/0/000.p/257 tile/0/000.p/-1 tile/0/000.p/1e1',
      'tile/0/000.p/1/1 tile/64/000 tile/-1/000 tile/x/000 tile/entries tile/Entries/000 tile/data/000',
      'tile/0/x000/000 tile/0/x000 tile/0/000/000 tile/0/X001/000 tile/0/001%00 tile/0//000 tile//0/000',
      'tile/0/00０ tile/0/000%20 tile/0/%2e%2e/000 tile/%00 checkpoint/ checkpoint.p/1 Checkpoint',
    ].flatMap((names) => names.split(' '));
    for (const name of malformed)
      expect({ name, status: (await fileOf(server, name)).status }).toEqual({ name, status: 404 });
  });

  test('the log of another node is not here', async () => {
    for (const node of ['other', 'Main', 'main%20', '']) {
      const answers = await Promise.all(
        ['checkpoint', 'tile/0/000'].map((name) => fetch(`${server.admin}/t/acme/log/${node}/${name}`)),
      );
      expect(answers.map(({ status }) => status)).toEqual([404, 404]);
    }
    expect((await fetch(`${server.data}/t/acme/log/main/checkpoint`)).status).toBe(404);
  });

  test('HEAD answers what GET would, without it; nothing is written here', async () => {
    for (const name of ['checkpoint', 'tile/0/000', 'tile/entries/001']) {
      const [get, head] = await Promise.all(
        ['GET', 'HEAD'].map((method) => fetch(`${server.admin}/t/acme/log/main/${name}`, { method })),
      );
      expect(head?.status).toBe(200);
      for (const header of ['content-type', 'cache-control'])
        expect(head?.headers.get(header), header).toBe(get?.headers.get(header));
      expect((await head?.arrayBuffer())?.byteLength).toBe(0);
    }
    expect((await fileOf(server, 'tile/0/009', { method: 'HEAD' })).status).toBe(404);
    for (const method of ['PUT', 'POST', 'DELETE'])
      expect((await fileOf(server, 'checkpoint', { method })).status).toBe(405);
  });
});

describe('who may read a log', () => {
  const files = ['checkpoint', 'tile/0/000', 'tile/entries/000'];
  const statusesFor = async (of: Running, authorization?: string, tenant = 'acme'): Promise<number[]> => {
    const init = { tenant, ...(authorization ? { headers: { authorization } } : {}) };
    const all = await Promise.all(files.map((name) => fileOf(of, name, init)));
    const calls = [
      ['DescribeLog', { tenant }],
      ['Receipt', { tenant, index: 0 }],
    ] as const;
    const answers = await Promise.all(
      calls.map(([method, body]) => connect(of.admin, `AuditService/${method}`, body, authorization)),
    );
    return [...all, ...answers].map(({ status }) => status);
  };
  const each = (status: number): number[] => Array.from({ length: 5 }, () => status);

  test('a caller that may audit.read, and an operator', async () => {
    expect(await statusesFor(server, bearer(secrets.api))).toEqual(each(200));
    expect(await statusesFor(server, bearer(secrets.operator))).toEqual(each(200));
  });

  test('nobody else: neither without audit.read, nor of another tenant, nor by a wrong secret', async () => {
    expect(await statusesFor(server, bearer(secrets.mcp))).toEqual(each(403));
    expect(await statusesFor(server, bearer(secrets.globexMcp))).toEqual(each(401));
    expect(await statusesFor(server, bearer(secrets.api), 'globex')).toEqual(each(401));
    expect(await statusesFor(server, bearer('wrong'))).toEqual(each(401));
    expect(await statusesFor(server, bearer(secrets.operator), 'nowhere')).toEqual(each(404));
  });

  test('who may not is not told whether there is such a node or tile', async () => {
    for (const name of ['tile/0/999', 'tile/no'])
      expect(
        (await fileOf(server, name, { headers: { authorization: bearer(secrets.mcp) } })).status,
        name,
      ).toBe(403);
    const headers = { authorization: bearer(secrets.mcp) };
    expect((await fetch(`${server.admin}/t/acme/log/other/checkpoint`, { headers })).status).toBe(403);
  });

  test('outside --dev nobody is refused', async () => {
    await using strict = await startServer({ overrides: { dev: false } });
    expect(await statusesFor(strict)).toEqual(each(401));
    expect((await fileOf(strict, 'checkpoint', { method: 'HEAD' })).status).toBe(401);
  });
});

describe('AuditService', () => {
  test('DescribeLog says the same over Connect and gRPC', async () => {
    using grpc = new Grpc(server.admin, secrets.api);
    const asked = await described();
    const { next_index: nextIndex, ...answer } = await grpc.call<Described & { next_index: number }>(
      'AuditService',
      'DescribeLog',
      { tenant: 'acme' },
    );
    expect({ ...answer, nextIndex: String(nextIndex) }).toEqual(asked);
    expect(asked.origin).toBe(checkpoint.origin);
    expect(isSigned(stated(asked.checkpoint), key)).toBe(true);
  });

  test('a receipt proves its record, wherever it stands', async () => {
    using grpc = new Grpc(server.admin, secrets.api);
    const entries = entriesIn((await fileOf(server, 'tile/entries/000')).bytes);
    for (const index of [0, 1, 255, 256, 511, 512, checkpoint.size - 1]) {
      const { body } = await receipt({ index });
      const read = receiptOf(body.proof);
      expect({ index: read.index, stated: Number(body.index ?? 0) }).toEqual({ index, stated: index });
      expect(isProved(read, key), String(index)).toBe(true);
      if (index < 256) expect(read.entry).toEqual(entries[index]);
      const same = await grpc.call<{ index: number; proof: string }>('AuditService', 'Receipt', {
        tenant: 'acme',
        index,
      });
      expect(same.index).toBe(index);
      expect(isProved(receiptOf(same.proof), key)).toBe(true);
    }
  });

  test('there is none of a record to come, of an index that is none, and of an unknown decision', async () => {
    using grpc = new Grpc(server.admin, secrets.api);
    const unknown = '01900000-0000-7000-8000-000000000000';
    for (const record of [{ index: 100_000 }, { index: '18446744073709551615' }, { decisionId: unknown }])
      expect(await receipt(record)).toMatchObject({ status: 404, body: { code: 'not_found' } });
    expect(await receipt({})).toMatchObject({ status: 400 });
    expect(
      await failure(grpc.call('AuditService', 'Receipt', { tenant: 'acme', index: 100_000 })),
    ).toMatchObject({ code: 'not_found' });
  });

  test('a decision that was just answered has one within seconds, and is unavailable until then', async () => {
    const { decisionId, index } = await decideOne(server);
    const { body } = await eventually(
      () => receipt({ decisionId }),
      ({ status, body: said }) => {
        if (status !== 200)
          expect({ status, said }).toMatchObject({ status: 503, said: { code: 'unavailable' } });
        return status === 200;
      },
    );
    const read = receiptOf(body.proof);
    expect(isProved(read, key)).toBe(true);
    expect(read.index).toBe(index);
    expect(JSON.parse(read.entry.toString())).toMatchObject({ decision_id: decisionId });
    // The log of another tenant has no such decision.
    expect(await receipt({ decisionId }, 'globex')).toMatchObject({ status: 404 });
  });

  test('so has one of a log without a checkpoint: it is not called unknown', async () => {
    await using fresh = await startServer();
    const answer = await connect(fresh.admin, 'AuditService/Receipt', { tenant: 'acme', index: 0 });
    // A checkpoint may have come about meanwhile.
    if (answer.status !== 200) expect(answer).toMatchObject({ status: 503, body: { code: 'unavailable' } });
    const beyond = await connect(fresh.admin, 'AuditService/Receipt', { tenant: 'acme', index: 99 });
    expect(beyond).toMatchObject({ status: 404 });
  });

  test('tenants have keys and origins of their own', async () => {
    const [acme, globex] = await Promise.all([described('acme'), described('globex')]);
    expect(acme.origin.replace('/t/acme/', '/t/globex/')).toBe(globex.origin);
    expect(acme.key.slice(-44)).not.toBe(globex.key.slice(-44));
    const other = stated(await checkpointOf(server, 1, 'globex'));
    expect(isSigned(other, keyOf(globex.key))).toBe(true);
    expect(isSigned(other, key)).toBe(false);
    expect(isSigned({ ...other, signer: key.name, keyId: key.id }, key)).toBe(false);
  });
});
