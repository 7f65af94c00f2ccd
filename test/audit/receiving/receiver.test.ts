import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { queryRecords } from '../../../src/audit/query.ts';
import { Receiver } from '../../../src/audit/receiving/receiver.ts';
import type { Shipment } from '../../../src/audit/receiving/shipment.ts';
import { systemMonotonic, systemRandom } from '../../../src/effects.ts';
import { ServiceError } from '../../../src/errors.ts';
import { type TenantId, tenantId } from '../../../src/ids.ts';
import type { Connection } from '../../../src/storage/database.ts';
import { partStore } from '../../../src/storage/log/parts.ts';
import { type RecordStore, recordStore } from '../../../src/storage/log/records.ts';
import { LogTrees } from '../../../src/storage/log/tree.ts';
import { openReader } from '../../../src/storage/reader.ts';
import { type ReceivedStore, receivedStore } from '../../../src/storage/received/store.ts';
import type { TenantNo } from '../../../src/storage/rows.ts';
import type { Writer } from '../../../src/storage/writer.ts';
import { draftOf, openStore, rowOf, sourceOf, T0, temporaryFolder, tenantNo } from '../../storage/store.ts';
import { OtherLog } from './other-server.ts';

/** What is kept of another server's log: all that it is, and nothing else, whatever is sent. */

const stack = new AsyncDisposableStack();
let writer: Writer;
let reader: Connection;
let records: RecordStore;
let store: ReceivedStore;
let no: TenantNo;
const acme = () => ({ id: tenantId('acme'), no });

beforeAll(async () => {
  const { folder } = stack.use(await temporaryFolder());
  writer = stack.use(await openStore(folder));
  no = await tenantNo(writer, 'acme');
  reader = stack.adopt(openReader(folder), (db) => void db.close());
  records = recordStore(reader);
  store = receivedStore(reader);
});

afterAll(() => stack.disposeAsync());

/** One that knows only what the store does. */
const receiver = (full = ''): Receiver =>
  new Receiver({
    full: () => full,
    store,
    records,
    trees: new LogTrees(reader),
    writer,
    node: 'main',
    clock: () => T0,
    monotonic: systemMonotonic,
    random: systemRandom,
  });

let serial = 0;
const named = (): string => {
  serial += 1;
  return `node-${serial}`;
};
const logOf = (node = named()): { node: string; log: OtherLog } => ({
  node,
  log: new OtherLog(`pdp.acme.test/t/acme/log/${node}`),
});
const grow = (log: OtherLog, count: number): void => {
  for (let at = 0; at < count; at += 1)
    log.entries.push(Buffer.from(rowOf(no, { time: T0 + log.entries.length }).body));
};
const keptOf = (node: string): Buffer[] => {
  const row = store.find(no, node);
  return row ? records.range(row.no, 0, 100_000).map(({ body }) => Buffer.from(body)) : [];
};
const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'kept',
    (error: unknown) => (error instanceof ServiceError ? error.code : String(error)),
  );
const send = (to: Receiver, shipment: Shipment, sender = 'operator:one') => to.take(acme(), sender, shipment);

describe('of an honest log', () => {
  test('every entry is kept, byte for byte, whatever its parts and however often they come', async () => {
    const { node, log } = logOf();
    grow(log, 700);
    const to = receiver();
    expect(await send(to, log.shipment(0, 0))).toBe(0);
    expect(await send(to, log.shipment(0, 300))).toBe(300);
    // A gap is told by what is kept; what comes again does no harm.
    expect(await send(to, log.shipment(400, 500))).toBe(300);
    expect(await send(to, log.shipment(200, 500))).toBe(500);
    expect(await send(receiver(), log.shipment(500, 700))).toBe(700);
    expect(await send(to, log.shipment(0, 700))).toBe(700);
    expect(keptOf(node)).toEqual(log.entries);
    const row = store.find(no, node);
    expect(row).toMatchObject({ stated: 700, refusal: '', key: log.vkey });
    expect(new LogTrees(reader).checkpoint(row?.no as TenantNo)?.source).toBe(log.checkpoint());
    // The writer itself finds the tree as it is to be.
    const { value } = await writer.run('damagedLog', { id: `acme@${node}` as TenantId });
    expect(value).toBe('whole');
  });

  test('what it says is found as in a log of our own', async () => {
    const { node, log } = logOf();
    const chain = [
      { class: 'agent', id: 'a' },
      { class: 'agent', id: 'b' },
    ];
    const drafts = Array.from({ length: 60 }, (_, at) =>
      draftOf(no, {
        time: T0 + at,
        subject: { class: 'user', id: at % 3 === 0 ? 'zoe' : 'bob' },
        actor: at % 2 === 0 ? { class: 'agent', id: 'a' } : undefined,
        grantId: at % 5 === 0 ? `grant-${at}` : undefined,
        reason: at % 7 === 0 ? 'not_allowed' : undefined,
        members: [
          at % 7 === 0 ? ',"reasons":[{"code":"not_allowed","message":""}]' : '',
          at % 5 === 0 ? `,"grant_id":"grant-${at}"` : '',
        ].join(''),
        input: JSON.stringify({
          subject: { class: 'user', id: at % 3 === 0 ? 'zoe' : 'bob' },
          actors: at % 2 === 0 ? chain : [],
          action: { name: at % 4 === 0 ? 'read' : 'write' },
          resource: { type: 'document', id: `d${at % 6}` },
        }),
      }),
    );
    for (const draft of drafts) log.entries.push(Buffer.from(rowOf(no, draft).body));
    await send(receiver(), log.shipment(0, 60));
    const own = await tenantNo(writer, `own-${node}`);
    await Promise.all(drafts.map((draft) => writer.append(rowOf(own, { ...draft, tenantNo: own }))));
    const received = store.find(no, node)?.no as TenantNo;
    for (const filter of [
      { principal: { class: 'user', id: 'zoe' } },
      { principal: { class: 'agent', id: 'a' } },
      { principal: { class: 'agent', id: 'b' } },
      { grantId: 'grant-20' },
      { reasonCode: 'not_allowed' },
      { actionName: 'read', resourceName: 'document:d0' },
      { decisionId: drafts[11]?.decisionId },
      { callerId: 'service:docs-api', since: T0 + 10, until: T0 + 20 },
    ]) {
      const query = { ...filter, pageSize: 100, pageToken: '' };
      const found = (log: TenantNo) =>
        queryRecords(sourceOf(records), log, query).records.map(({ index }) => index);
      expect(found(received), JSON.stringify(filter)).toEqual(found(own));
      expect(found(own).length).toBeGreaterThan(0);
    }
  });

  test('what entries have in common comes with them, and nothing else does', async () => {
    const { node, log } = logOf();
    const body = JSON.stringify({ ticket: 'INC-7' });
    const digest = createHash('sha256').update(body).digest('hex');
    const entry = rowOf(no, { members: `,"input_parts":{"context":"${digest}"}` }).body;
    log.entries.push(Buffer.from(entry));
    const shipment = log.shipment(0, 1);
    const other = { digest: createHash('sha256').update('{}').digest('hex'), body: '{}' };
    const wrong = { digest, body: '{"ticket":"INC-8"}' };
    for (const part of [other, wrong])
      expect(await codeOf(send(receiver(), { ...shipment, parts: [part] }))).toBe('log_refused');
    expect(keptOf(node)).toEqual([]);
    await send(receiver(), { ...shipment, parts: [{ digest, body }] });
    const received = store.find(no, node)?.no as TenantNo;
    expect(partStore(reader).find(received, digest)).toBe(body);
    expect(partStore(reader).find(no, digest)).toBeUndefined();
    // It comes again with an entry that comes again.
    grow(log, 1);
    expect(await send(receiver(), { ...log.shipment(0, 2), parts: [{ digest, body }] })).toBe(2);
    expect(await send(receiver(), { ...log.shipment(0, 2), parts: [{ digest, body }] })).toBe(2);
    expect(await codeOf(send(receiver(), { ...log.shipment(0, 2), parts: [other] }))).toBe('log_refused');
  });
});

/** Each makes something else of a shipment of `log`, which has more entries than are kept. */
const attacks: Record<string, (log: OtherLog, kept: number, at: number) => Shipment> = {
  'an entry with one byte changed': (log, kept, at) => {
    const shipment = log.shipment(kept, log.entries.length);
    const entries = shipment.entries.map((each) => Buffer.from(each));
    const target = entries[at % entries.length] as Buffer;
    const place = at % target.length;
    target[place] = (target[place] ?? 0) ^ 1;
    return { ...shipment, entries };
  },
  'an entry left out': (log, kept, at) => {
    const shipment = log.shipment(kept, log.entries.length - 1);
    return { ...shipment, entries: shipment.entries.toSpliced(at % shipment.entries.length, 1) };
  },
  'an entry put in': (log, kept, at) => {
    const shipment = log.shipment(kept, log.entries.length - 1);
    const more = Buffer.from(rowOf(no).body);
    return { ...shipment, entries: shipment.entries.toSpliced(at % shipment.entries.length, 0, more) };
  },
  'entries in another order': (log, kept) => {
    const shipment = log.shipment(kept, log.entries.length);
    return { ...shipment, entries: shipment.entries.toReversed() };
  },
  'more entries than are stated': (log, kept) => ({
    ...log.shipment(kept, log.entries.length),
    checkpoint: log.checkpoint(log.entries.length - 1),
  }),
  'a proof of nothing': (log, kept) => ({
    ...log.shipment(kept, log.entries.length - 1),
    proof: [],
  }),
  'a proof with another hash': (log, kept, at) => {
    const shipment = log.shipment(kept, log.entries.length - 1);
    return { ...shipment, proof: shipment.proof.with(at % shipment.proof.length, Buffer.alloc(32, at)) };
  },
  'another history from what is kept on': (log, kept) => {
    const fork = log.forked(kept - 1);
    grow(fork, 30);
    return fork.shipment(kept, 28);
  },
  'another history, also of what is kept': (log, kept) => {
    const fork = log.forked(0);
    grow(fork, kept + 10);
    return fork.shipment(kept, kept + 10);
  },
  'another history of what comes again': (log, kept) => {
    const fork = log.forked(kept - 1);
    grow(fork, 10);
    return fork.shipment(0, kept);
  },
  'a log that was put back': (log, kept) => log.forked(kept - 1).shipment(0, kept - 1),
  'the name of the log by another key': (log, kept) => {
    const other = new OtherLog(log.key.name);
    other.entries.push(...log.entries);
    return other.shipment(kept, log.entries.length);
  },
  'a checkpoint that another key has signed': (log, kept) => {
    const other = new OtherLog(log.key.name);
    other.entries.push(...log.entries);
    return { ...log.shipment(kept, log.entries.length), checkpoint: other.checkpoint() };
  },
  'a checkpoint of more than was signed': (log, kept) => {
    const shipment = log.shipment(kept, log.entries.length);
    const [origin, size = '', ...rest] = shipment.checkpoint.split('\n');
    return { ...shipment, checkpoint: [origin, String(Number(size) + 1), ...rest].join('\n') };
  },
  'an entry that is no record': (log, kept) => {
    const fork = log.forked(log.entries.length);
    fork.entries.push(Buffer.from('{"v":1,"kind":"rumour"}'));
    return fork.shipment(kept, fork.entries.length);
  },
  'an entry that is no UTF-8': (log, kept) => {
    const fork = log.forked(log.entries.length);
    fork.entries.push(Buffer.from([0x7b, 0xff, 0x7d]));
    return fork.shipment(kept, fork.entries.length);
  },
};

describe('refused is', () => {
  test.each(Object.entries(attacks))(
    '%s, whatever it is; what was kept stays, and goes on',
    async (_, attack) => {
      const { node, log } = logOf();
      grow(log, 20);
      const to = receiver();
      await send(to, log.shipment(0, 8, 8));
      const before = keptOf(node);
      for (const at of [0, 1, 7, 100])
        for (const each of [to, receiver()])
          expect(await codeOf(send(each, attack(log, 8, at)))).toBe('log_refused');
      expect(keptOf(node)).toEqual(before);
      expect(store.find(no, node)?.refusal).not.toBe('');
      expect(to.problems().some((text) => text.includes(node))).toBe(true);
      expect(await send(to, log.shipment(8, 20))).toBe(20);
      expect(keptOf(node)).toEqual(log.entries);
    },
  );

  test('what there is no room for, until there is', async () => {
    const { node, log } = logOf();
    grow(log, 4);
    expect(await codeOf(send(receiver('its disk is full'), log.shipment(0, 4)))).toBe('resource_exhausted');
    expect(keptOf(node)).toEqual([]);
    expect(await send(receiver(), log.shipment(0, 4))).toBe(4);
  });

  test('two histories of what was stated and not come to yet', async () => {
    const { node, log } = logOf();
    grow(log, 20);
    await send(receiver(), log.shipment(0, 8));
    const fork = log.forked(10);
    grow(fork, 30);
    // It agrees with what is kept, and not with what was stated.
    expect(await codeOf(send(receiver(), fork.shipment(8, 12)))).toBe('kept');
    expect(await codeOf(send(receiver(), fork.shipment(12, 25)))).toBe('log_refused');
    expect(store.find(no, node)?.refusal).toMatch(/first 20 entries/);
    expect(keptOf(node)).toHaveLength(12);
  });

  test('who comes as somebody else, or as this server', async () => {
    const { node, log } = logOf();
    grow(log, 4);
    await send(receiver(), log.shipment(0, 2));
    expect(await codeOf(send(receiver(), log.shipment(2, 4), 'operator:two'))).toBe('log_refused');
    expect(keptOf(node)).toHaveLength(2);
    const { log: own } = logOf('main');
    grow(own, 2);
    expect(await codeOf(send(receiver(), own.shipment(0, 2)))).toBe('log_refused');
    expect(store.find(no, 'main')).toBeUndefined();
  });

  test('a log of another tenant, by its own key and under its own name', async () => {
    const log = new OtherLog('pdp.acme.test/t/globex/log/other');
    grow(log, 4);
    expect(await codeOf(send(receiver(), log.shipment(0, 4)))).toBe('invalid_request');
    for (const name of ['pdp.acme.test/t/acme/log/a.b', 'pdp.acme.test/t/acme/log/', 'x/t/acme/log/y/z'])
      expect(await codeOf(send(receiver(), new OtherLog(name).shipment(0, 0)))).toBe('invalid_request');
  });

  test('what is not of a shipment’s size', async () => {
    const { log } = logOf();
    grow(log, 1);
    const shipment = log.shipment(0, 1);
    for (const more of [
      { entries: Array.from({ length: 1_025 }, () => shipment.entries[0] as Buffer) },
      { entries: [Buffer.alloc(65_536, 0x20)] },
      { entries: [Buffer.alloc(0)] },
      { proof: [Buffer.alloc(31)] },
      { from: Number.MAX_SAFE_INTEGER + 1 },
      { checkpoint: `${shipment.checkpoint}${' '.repeat(20_000)}` },
    ])
      expect(await codeOf(send(receiver(), { ...shipment, ...more }))).toBe('invalid_request');
  });
});

test('whatever honest and other servers send by turns, what is kept is a beginning of the honest log', async () => {
  const names = Object.keys(attacks);
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          what: fc.constantFrom('grow', 'send', 'attack', 'restart'),
          size: fc.nat({ max: 40 }),
          back: fc.nat({ max: 5 }),
          attack: fc.constantFrom(...names),
        }),
        { maxLength: 14 },
      ),
      async (steps) => {
        const { node, log } = logOf();
        grow(log, 4);
        let to = receiver();
        await send(to, log.shipment(0, 3));
        for (const { what, size, back, attack } of steps) {
          const { length } = keptOf(node);
          if (what === 'grow') grow(log, size);
          else if (what === 'restart') to = receiver();
          else if (what === 'send') {
            const from = Math.max(0, length - back);
            expect(
              await send(to, log.shipment(from, Math.min(log.entries.length, from + size))),
            ).toBeGreaterThanOrEqual(length);
          } else {
            grow(log, 3);
            expect(await codeOf(send(to, attacks[attack]?.(log, length, size) as Shipment))).not.toBe(
              'internal',
            );
          }
          expect(keptOf(node)).toEqual(log.entries.slice(0, keptOf(node).length));
        }
        expect(await send(to, log.shipment(keptOf(node).length, log.entries.length))).toBe(
          log.entries.length,
        );
        expect(keptOf(node)).toEqual(log.entries);
      },
    ),
    { numRuns: 25 },
  );
});
