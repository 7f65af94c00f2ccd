import Database from 'better-sqlite3';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { at } from '../../cli/run.ts';
import { agent, mcp, otherAgent, Stage } from '../../delegation/stage.ts';
import { check, connect, tokenReads } from '../../e2e/requests.ts';
import { bearer, secrets } from '../../e2e/server.ts';

/** What was counted is what the log says: after any traffic, while it goes on, and again once the counters were damaged. */

const REGO = `package authz

deny contains "too_many_reads" if input.usage.reads >= 5
allow if input.action.name == "document.pay"
`;

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.open({
    overrides: { base_url: 'http://mandate.example' },
    acme: (manifest) => {
      manifest.tasks = { max_hours: 2 };
      manifest.meters = {
        reads: { actions: ['document.read'], per: 'subject', window: '1h' },
        acted: { actions: ['document.read'], per: 'actor' },
        spent: { actions: ['document.pay'], per: 'actor', sum: 'resource.properties.amount' },
        by_task: { actions: ['document.read'], per: 'task' },
        calls: { actions: ['document.read'], per: 'grant', window: '1d' },
        in_all: { actions: ['document.read'], per: 'grant' },
      };
      for (const { ceiling } of manifest.principals) if (ceiling) ceiling.max_depth = 3;
      for (let each = 0; each < 6; each += 1)
        manifest.principals.push({
          class: 'user',
          id: `u${each}`,
          roles: ['editor'],
          groups: ['engineering'],
          properties: { projects: ['apollo'], clearance: 3 },
        });
    },
    acmeFiles: { 'authz/usage.rego': REGO },
  });
});
afterAll(() => stage[Symbol.asyncDispose]());

interface Rebuilt {
  records?: string;
  differing?: string;
  differences?: { meter: string; countedFor: string; counted?: number; recorded?: number }[];
  partial?: string[];
  applied?: string;
}
const rebuild = (body: object = {}, authorization = bearer(secrets.operator)) =>
  connect<Rebuilt>(
    stage.server.admin,
    'TenantService/RebuildUsage',
    { tenant: 'acme', ...body },
    authorization,
  );

const asks = (id: string, action: string, amount = 1) => ({
  tenant: 'acme',
  subject: { type: 'user', id },
  action: { name: action },
  resource: {
    type: 'document',
    id: 'roadmap',
    properties: { project: 'apollo', sensitivity: 'internal', amount },
  },
});

/** Rows of the counters, as they stand in the store. */
const db = () => new Database(`${stage.server.folder}/data/mandate.db`);
const rows = (): unknown[] => {
  const open = db();
  try {
    return open.prepare('SELECT meter, of, since, amount, until FROM usage ORDER BY meter, of, since').all();
  } finally {
    open.close();
  }
};
function damage(sql: string): void {
  const open = db();
  try {
    open.pragma('busy_timeout = 5000');
    expect(open.prepare(sql).run().changes).toBeGreaterThan(0);
  } finally {
    open.close();
  }
}

type Step =
  | { does: 'read' | 'pay'; who: number; amount: number }
  | { does: 'token' | 'task' | 'child' | 'batch'; who: number; amount: number };
const steps = fc.array(
  fc.record({
    does: fc.constantFrom(
      'read' as const,
      'pay' as const,
      'token' as const,
      'task' as const,
      'child' as const,
      'batch' as const,
    ),
    who: fc.nat(5),
    amount: fc.integer({ min: 0, max: 5_000 }).map((cents) => cents / 100),
  }),
  { minLength: 4, maxLength: 14 },
);

async function takes({ does, who, amount }: Step): Promise<void> {
  const { data } = stage.server;
  const id = `u${who}`;
  const by = bearer(secrets.api);
  if (does === 'read') await check(data, asks(id, 'document.read'), by);
  else if (does === 'pay') await check(data, asks(id, 'document.pay', amount), by);
  else if (does === 'batch') {
    const { resource, ...rest } = asks(id, 'document.read');
    await connect(data, 'DecisionService/CheckBatch', { ...rest, items: [{ resource }, { resource }] }, by);
  } else {
    const task = does === 'task' ? { task_purpose: 'count' } : {};
    const { body } = await stage.exchange(await stage.issuer.sign({ sub: id }), task);
    let token = body.access_token;
    if (does === 'child')
      token = (await stage.exchange(token, { audience: 'docs-api' }, mcp)).body.access_token ?? token;
    await check(data, tokenReads(token, ''), bearer(does === 'child' ? secrets.api : secrets.mcp));
  }
}

test(
  'after random traffic, and in its midst, it is what was counted; whatever is damaged is made good again',
  () =>
    fc.assert(
      fc.asyncProperty(steps, fc.nat(2), async (all, kind) => {
        const traffic = Promise.all(all.map(takes));
        const meanwhile = await rebuild();
        expect(meanwhile.body.differences ?? [], 'in its midst').toEqual([]);
        await traffic;
        const { status, body } = await rebuild();
        expect({ status, body }).toMatchObject({ status: 200 });
        expect(body.differences ?? []).toEqual([]);
        expect(body.partial ?? []).toEqual([]);
        const before = rows();
        if (before.length === 0) return;
        damage(
          ['DELETE FROM usage', 'UPDATE usage SET amount = amount + 1500000', 'UPDATE usage SET amount = 0'][
            kind
          ] ?? '',
        );
        const seen = (await rebuild()).body;
        expect(Number(seen.differing)).toBe(before.length);
        expect(rows()).not.toEqual(before);
        const { body: applied } = await rebuild({ apply: true });
        expect(Number(applied.applied)).toBe(before.length);
        expect(rows()).toEqual(before);
      }),
      { numRuns: 12, interruptAfterTimeLimit: 9_000 },
    ),
  60_000,
);

test('a policy sees what was set right with the next decision, and the record says by whom and what', async () => {
  const { data } = stage.server;
  const read = async () => (await check(data, asks('bob', 'document.read'), bearer(secrets.api))).body;
  await rebuild({ apply: true });
  for (let each = 0; each < 2; each += 1) await read();
  damage("UPDATE usage SET amount = 9000000 WHERE of = 'subject user:bob'");
  await stage.restart();
  expect(
    (await check(stage.server.data, asks('bob', 'document.read'), bearer(secrets.api))).body.reasons,
  ).toMatchObject([{ code: 'too_many_reads' }]);
  const { body } = await rebuild({ meter: 'reads', apply: true });
  expect(body).toMatchObject({
    differing: '1',
    applied: '1',
    differences: [{ meter: 'reads', countedFor: 'subject user:bob', counted: 9, recorded: 2 }],
  });
  expect(
    (await check(stage.server.data, asks('bob', 'document.read'), bearer(secrets.api))).body,
  ).toMatchObject({
    decision: 'DECISION_ALLOW',
  });
  const [record] = await stage.records({ kind: 'administration' });
  expect(record).toMatchObject({ action: 'meters.rebuild', caller: 'operator:root' });
  const { detail } = JSON.parse(Buffer.from(String(record?.['body']), 'base64').toString()) as {
    detail: object;
  };
  expect(detail).toMatchObject({
    changed: 1,
    counts: [{ meter: 'reads', for: 'subject user:bob', before: 9, after: 2 }],
  });
});

test('two at once set a difference right once', async () => {
  damage('UPDATE usage SET amount = amount + 3000000');
  const answers = await Promise.all([rebuild({ apply: true }), rebuild({ apply: true })]);
  const [first = 0, second = 0] = answers
    .map(({ body }) => Number(body.applied ?? 0))
    .toSorted((a, b) => b - a);
  expect(first).toBeGreaterThan(0);
  expect(second).toBe(0);
  expect((await rebuild()).body.differences ?? []).toEqual([]);
});

test('takes the right to, a meter that there is, and a tenant of the caller', async () => {
  expect((await rebuild({ meter: 'nothing' })).status).toBe(404);
  for (const asked of [{}, { apply: true }])
    expect((await rebuild(asked, bearer(agent.secret))).status).toBe(403);
  expect((await rebuild({ tenant: 'globex' }, bearer(otherAgent.secret))).status).toBe(401);
});

test('mandate meter rebuild says what differs, and by its exit code', async () => {
  const cli = (...args: string[]) =>
    at(stage.server, secrets.operator)('meter', 'rebuild', '-t', 'acme', ...args);
  expect(await cli()).toMatchObject({
    code: 0,
    stdout: expect.stringContaining(' 0 counts differ') as string,
  });
  damage("UPDATE usage SET amount = 7000000 WHERE of = 'subject user:bob' AND meter = 'reads'");
  const differs = await cli('--meter', 'reads');
  expect(differs).toMatchObject({ code: 1 });
  expect(differs.stdout).toMatch(
    /^METER +FOR +SINCE +COUNTED +RECORDED\nreads +subject user:bob +20\S+ +7 +3\n/,
  );
  expect(await cli('--apply')).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('1 were set right') as string,
  });
  expect(await cli()).toMatchObject({ code: 0 });
});
