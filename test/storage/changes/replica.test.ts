import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { GrantId } from '../../../src/ids.ts';
import { decodeArgs, encodeArgs } from '../../../src/storage/changes/body.ts';
import { copyOf } from '../../../src/storage/changes/copy.ts';
import { changeStore } from '../../../src/storage/changes/store.ts';
import type { Connection } from '../../../src/storage/database.ts';
import { credentialEnd } from '../../../src/storage/granting/ends.ts';
import { openReader } from '../../../src/storage/reader.ts';
import type { GrantRow, TenantNo } from '../../../src/storage/rows.ts';
import type { Writer } from '../../../src/storage/writer.ts';
import { agent, grant, principal } from '../granting/given.ts';
import { openStore, T0, temporaryFolder, tenantNo } from '../store.ts';

const TABLES = [
  'manifests',
  'principals',
  'owners',
  'issuers',
  'grants',
  'ends',
  'approvals',
  'keys',
  'erasures',
];

interface Store {
  readonly writer: Writer;
  readonly no: TenantNo;
  readonly reader: Connection;
}

/** Another tenant comes first in the second store, so that numbers differ. */
async function withTwo(use: (source: Store, replica: Store) => Promise<void>): Promise<void> {
  await using places = await temporaryFolder();
  const open = async (name: string) => {
    const folder = `${places.folder}/${name}`;
    return { writer: await openStore(folder), folder };
  };
  const [one, two] = [await open('one'), await open('two')];
  await using _one = one.writer;
  await using _two = two.writer;
  await tenantNo(two.writer, 'other');
  const store = async ({ writer, folder }: typeof one): Promise<Store> => ({
    writer,
    no: await tenantNo(writer, 'acme'),
    reader: openReader(folder),
  });
  const [source, replica] = [await store(one), await store(two)];
  try {
    await use(source, replica);
  } finally {
    source.reader.close();
    replica.reader.close();
  }
}

const held = ({ reader, no }: Store): unknown => [
  reader.prepare('SELECT grants, manifest_hash FROM tenants WHERE no = ?').get(no),
  ...TABLES.map((table) => {
    const rows = reader
      .prepare(`SELECT * FROM ${table} WHERE tenant_no = ? ORDER BY ${table === 'manifests' ? '2' : '2, 3'}`)
      .all(no);
    return { table, rows: rows.map((row) => ({ ...(row as object), tenant_no: 0 })) };
  }),
];

async function follow(source: Store, replica: Store): Promise<void> {
  const { version } = changeStore(replica.reader).at(replica.no);
  const changes = changeStore(source.reader).after(source.no, version, 1e9);
  for (const change of changes ?? [])
    await replica.writer.run('applyChange', { ...change, tenantNo: replica.no });
}

async function copy(source: Store, replica: Store): Promise<void> {
  const tenant = { tenantNo: replica.no };
  await replica.writer.run('beginCopy', tenant);
  for (const piece of copyOf(source.reader, source.no, false))
    await replica.writer.run('putCopied', { ...tenant, ...piece });
  await replica.writer.run('endCopy', { ...tenant, ...changeStore(source.reader).at(source.no) });
}

type Step =
  | { do: 'put'; id: string; disabled: boolean }
  | { do: 'status'; id: string; disabled: boolean }
  | { do: 'retire' | 'erase'; id: string }
  | { do: 'grant'; subject: string; under: number; task: boolean }
  | { do: 'revoke'; which: number }
  | { do: 'kill' | 'restore'; what: 'tenant' | 'issuer https://idp.example' }
  | { do: 'credential'; restore: boolean; id: string }
  | { do: 'issuer'; remove: boolean }
  | { do: 'key' }
  | { do: 'manifest'; ids: string[] };

const id = fc.constantFrom('ann', 'ben', 'cy', '__proto__', '\0');
const which = fc.nat(20);
const steps = fc.array(
  fc.oneof(
    fc.record({ do: fc.constant('put' as const), id, disabled: fc.boolean() }),
    fc.record({ do: fc.constant('status' as const), id, disabled: fc.boolean() }),
    fc.record({ do: fc.constantFrom('retire' as const, 'erase' as const), id }),
    fc.record({ do: fc.constant('grant' as const), subject: id, under: which, task: fc.boolean() }),
    fc.record({ do: fc.constant('revoke' as const), which }),
    fc.record({
      do: fc.constantFrom('kill' as const, 'restore' as const),
      what: fc.constantFrom('tenant' as const, 'issuer https://idp.example' as const),
    }),
    fc.record({ do: fc.constant('credential' as const), restore: fc.boolean(), id }),
    fc.record({ do: fc.constant('issuer' as const), remove: fc.boolean() }),
    fc.record({ do: fc.constant('key' as const) }),
    fc.record({ do: fc.constant('manifest' as const), ids: fc.uniqueArray(id) }),
  ),
  { maxLength: 40 },
);

/** Makes it in the source; answers which version the writer said that it made. */
async function make({ writer, no }: Store, step: Step, at: number, grants: GrantRow[]) {
  const tenant = { tenantNo: no };
  const when = T0 + at;
  switch (step.do) {
    case 'put': {
      const properties = { [step.id]: { '\0': 'x', '\0\0': [step.id] } };
      const one = { ...principal({ id: step.id, properties }), disabled: step.disabled };
      return writer.run('putPrincipals', { ...tenant, principals: [one], at: when });
    }
    case 'erase':
      return writer.run('destroyMemberKeys', {
        ...tenant,
        about: { class: 'user', id: step.id },
        at: when,
      });
    case 'status':
      return writer.run('setStatus', {
        ...tenant,
        class: 'user',
        id: step.id,
        disabled: step.disabled,
        at: when,
      });
    case 'retire':
      return writer.run('retirePrincipal', { ...tenant, class: 'user', id: step.id, at: when });
    case 'grant': {
      const parent = grants[step.under % (grants.length + 1)];
      const one = grant({
        subject: { class: 'user', id: step.subject },
        ...(parent && { parentId: parent.id, depth: parent.depth + 1, subject: parent.subject }),
      });
      grants.push(one);
      return writer.run('insertGrant', { ...tenant, grant: one });
    }
    case 'revoke': {
      const one = grants[step.which % Math.max(1, grants.length)]?.id ?? ('none' as GrantId);
      return writer.run('revokeGrant', { ...tenant, id: one, at: when });
    }
    case 'kill':
      return writer.run('kill', { ...tenant, name: step.what, at: when });
    case 'restore':
      return writer.run('restore', { ...tenant, name: step.what });
    case 'issuer': {
      const issuer = 'https://idp.example';
      return step.remove
        ? writer.run('removeIssuer', { ...tenant, issuer })
        : writer.run('putIssuer', { ...tenant, issuer, body: '{}', most: 2 });
    }
    case 'key': {
      const kid = `k${at}`;
      const key = {
        kid,
        alg: 'EdDSA',
        publicJwk: '{}',
        sealed: Buffer.from('a private key, sealed'),
        createdAt: when,
        state: 'active' as const,
        stateAt: when,
      };
      return writer.run('replaceKeys', { ...tenant, key, at: when });
    }
    case 'credential': {
      const names = [credentialEnd(`digest-${step.id.length}`)];
      if (step.restore) return writer.run('restoreCredential', { ...tenant, names });
      return writer.run('killCredential', { ...tenant, class: 'user', id: step.id, names, at: when });
    }
    case 'manifest': {
      const principals = step.ids.map((each) => principal({ id: each }));
      return writer.run('putManifest', { ...tenant, hash: `h${at}`, text: `t${at}`, principals, at: when });
    }
  }
}

test('whoever makes the same changes, or begins with a copy and goes on, has the same state and the same chain', () =>
  fc.assert(
    fc.asyncProperty(steps, fc.nat(40), async (all, copyAt) => {
      await withTwo(async (source, replica) => {
        const [ours, theirs] = [changeStore(source.reader), changeStore(replica.reader)];
        await source.writer.run('putPrincipals', { tenantNo: source.no, principals: [agent], at: T0 });
        const grants: GrantRow[] = [];
        let version = 1;
        for (const [at, step] of all.entries()) {
          const before = version;
          const { value, version: made } = await make(source, step, at, grants);
          if (value === undefined) expect(made).toBeUndefined();
          else expect(made).toBe(++version);
          expect(ours.at(source.no).version).toBe(value === undefined ? before : version);
          if (at === copyAt) await copy(source, replica);
          else if (at % 3 === 0) await follow(source, replica);
        }
        await follow(source, replica);
        expect(theirs.at(replica.no)).toEqual(ours.at(source.no));
        expect(ours.isSame(source.no, theirs.at(replica.no))).toBe(true);
        const without = held(source) as { table: string; rows: Record<string, unknown>[] }[];
        for (const { table, rows } of without)
          if (table === 'keys') for (const row of rows ?? []) row['sealed'] = null;
        const copied = held(replica) as typeof without;
        for (const { table, rows } of copied)
          if (table === 'keys')
            for (const row of rows ?? []) {
              expect(Buffer.from(row['sealed'] as Uint8Array).every((byte) => byte === 0)).toBe(true);
              row['sealed'] = null;
            }
        expect(copied).toEqual(without);
      });
    }),
    { numRuns: 12 },
  ));

test('no private part of a key is in what is kept for those who follow', () =>
  withTwo(async (source) => {
    await make(source, { do: 'key' }, 1, []);
    const bodies = source.reader.prepare<[], string>('SELECT body FROM changes').pluck().all();
    expect(bodies).toHaveLength(1);
    const kept = bodies.join('');
    expect(kept).toContain('k1');
    for (const form of ['a private key', Buffer.from('a private key, sealed').toString('base64')])
      expect(kept).not.toContain(form);
  }));

test('of a change that is too large to be kept nobody is told anything but a copy', () =>
  withTwo(async (source, replica) => {
    await make(source, { do: 'put', id: 'ann', disabled: true }, 1, []);
    await follow(source, replica);
    const properties = { text: 'x'.repeat(9 * 1024 * 1024) };
    const principals = [principal({ id: 'ben', properties })];
    await source.writer.run('putPrincipals', { tenantNo: source.no, principals, at: T0 });
    const [ours, theirs] = [changeStore(source.reader), changeStore(replica.reader)];
    expect(ours.after(source.no, 1, 1e9)).toBeUndefined();
    await make(source, { do: 'put', id: 'cy', disabled: true }, 1, []);
    expect(ours.after(source.no, 1, 1e9)).toBeUndefined();
    expect(ours.after(source.no, 2, 1e9)).toHaveLength(1);
    await copy(source, replica);
    expect(theirs.at(replica.no)).toEqual(ours.at(source.no));
    expect(held(replica)).toEqual(held(source));
  }));

test('a change is made once, in its order, and a gap is refused', () =>
  withTwo(async (source, replica) => {
    for (const disabled of [true, false]) await make(source, { do: 'put', id: 'ann', disabled }, 1, []);
    const [first, second] = changeStore(source.reader).after(source.no, 0, 1e9) ?? [];
    if (!first || !second) throw new Error('two changes were made');
    const apply = (change: typeof first) =>
      replica.writer.run('applyChange', { ...change, tenantNo: replica.no });
    await expect(apply(second)).rejects.toMatchObject({ code: 'audit_unavailable' });
    await apply(first);
    expect((await apply(first)).value).toBeUndefined();
    await apply(second);
    expect(changeStore(replica.reader).at(replica.no).version).toBe(2);
    const stranger = { version: 3, name: 'putOlderMasters', body: '{"sealed":[]}' };
    await expect(apply(stranger)).rejects.toMatchObject({ code: 'audit_unavailable' });
  }));

test('a command that is wrong in itself has its place, does nothing, and those after it go on', () =>
  withTwo(async (_source, replica) => {
    const tenant = { tenantNo: replica.no };
    const apply = (version: number, name: string, args: object) =>
      replica.writer.run('applyChange', { ...tenant, version, name, body: encodeArgs(args) });
    const key = { kid: 'k', alg: 'EdDSA', publicJwk: '{}', sealed: Buffer.of(), createdAt: T0, stateAt: T0 };
    // Half of it would be done before the constraint is met.
    const wrong = await apply(1, 'replaceKeys', { key: { ...key, state: 'of no kind' }, at: T0 });
    expect(wrong.value).toBeUndefined();
    expect((await apply(2, 'putPrincipals', { principals: 'nobody', at: T0 })).value).toBeUndefined();
    expect((await apply(3, 'replaceKeys', { key: { ...key, state: 'active' }, at: T0 })).value).toBe(true);
    expect(changeStore(replica.reader).at(replica.no).version).toBe(3);
  }));

test('changes of another history are told from ours by their chain', () =>
  withTwo(async (source, replica) => {
    await make(source, { do: 'put', id: 'ann', disabled: true }, 1, []);
    await make(replica, { do: 'put', id: 'ann', disabled: false }, 1, []);
    const [ours, theirs] = [changeStore(source.reader), changeStore(replica.reader)];
    expect(ours.isSame(source.no, theirs.at(replica.no))).toBe(false);
    expect(ours.isSame(source.no, ours.at(source.no))).toBe(true);
    await make(source, { do: 'put', id: 'ben', disabled: true }, 1, []);
    expect(ours.isSame(source.no, theirs.at(replica.no))).toBe(false);
    expect(ours.isSame(source.no, { version: 7, chain: new Uint8Array(32) })).toBe(false);
  }));

test('a change that does not lead where whoever tells of it says is refused: what is here is of another history', () =>
  withTwo(async (source, replica) => {
    await make(source, { do: 'put', id: 'ann', disabled: true }, 1, []);
    await make(replica, { do: 'put', id: 'ann', disabled: false }, 1, []);
    await make(source, { do: 'put', id: 'ben', disabled: true }, 1, []);
    const [next] = changeStore(source.reader).after(source.no, 1, 1e9) ?? [];
    if (!next) throw new Error('a change was made');
    const apply = (change: typeof next) =>
      replica.writer.run('applyChange', { ...change, tenantNo: replica.no });
    await expect(apply(next)).rejects.toMatchObject({ detail: expect.stringContaining('another history') });
    expect(changeStore(replica.reader).at(replica.no).version).toBe(1);
  }));

test('while a copy is on its way in no change is made, and what this version does not know is refused', () =>
  withTwo(async (source, replica) => {
    await make(source, { do: 'put', id: 'ann', disabled: true }, 1, []);
    const tenant = { tenantNo: replica.no };
    await replica.writer.run('beginCopy', tenant);
    await expect(follow(source, replica)).resolves.toBeUndefined();
    expect(changeStore(replica.reader).at(replica.no).version).toBe(-1);
    const put = (table: string, column: string) =>
      replica.writer.run('putCopied', { ...tenant, table, columns: [column], rows: [['x']] });
    for (const [table, column] of [
      ['once', 'what'],
      ['store', 'id'],
      ['tenants', 'id'],
      ['log_keys', 'origin'],
      ['principals', 'id) VALUES (1); DROP TABLE grants; --'],
    ] as const)
      await expect(put(table, column)).rejects.toMatchObject({ code: 'audit_unavailable' });
  }));

test('arguments come back as they were', () =>
  fc.assert(
    fc.property(fc.jsonValue(), fc.uint8Array(), (json, bytes) => {
      const args = { json, bytes, nested: [{ bytes }] };
      const back = decodeArgs(encodeArgs(args)) as typeof args;
      expect(JSON.stringify(back.json)).toBe(JSON.stringify(json));
      expect(Buffer.compare(back.bytes, bytes)).toBe(0);
      expect(Buffer.compare(back.nested[0]?.bytes ?? new Uint8Array(), bytes)).toBe(0);
    }),
  ));
