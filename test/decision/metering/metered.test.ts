import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openReader } from '../../../src/storage/reader.ts';
import type { TenantNo } from '../../../src/storage/rows.ts';
import { usageStore } from '../../../src/storage/usage.ts';
import { agent, deniedFor, mcp, otherAgent, Stage } from '../../delegation/stage.ts';
import { check, connect, exchangeFields, form, postJson, tokenReads } from '../../e2e/requests.ts';
import { bearer, secrets } from '../../e2e/server.ts';

/** What was counted so far, seen by the policy: through the endpoints, at once, and across a restart. */

const REGO = `package authz

deny contains "too_many_reads" if {
	input.action.name == "document.read"
	input.usage.reads >= 5
}

deny contains "over_budget" if {
	input.action.name == "document.pay"
	input.usage.spent + input.resource.properties.amount > 100
}

allow if input.action.name in {"document.pay", "document.export", "document.approve"}

deny contains "no_approval_before" if {
	input.action.name == "document.export"
	object.get(input.usage, "approvals", 0) == 0
}

deny contains "too_many_calls" if {
	input.action.name == "document.read"
	input.usage.by_task >= 7
}
`;

const HOUR = 3_600_000;

let stage: Stage;
let ahead = 0;
const clock = (): number => Date.now() + ahead;

beforeAll(async () => {
  stage = await Stage.open({
    clock,
    overrides: { base_url: 'http://mandate.example' },
    acme: (manifest) => {
      manifest.tasks = { max_hours: 2 };
      manifest.meters = {
        reads: { actions: ['document.read'], per: 'subject', window: '1h' },
        spent: { actions: ['document.pay'], per: 'actor', sum: 'resource.properties.amount' },
        approvals: { actions: ['document.approve'], seen_by: ['document.export'], per: 'subject' },
        by_task: { actions: ['document.read'], per: 'task' },
        calls: { actions: ['document.read'], per: 'grant' },
      };
      manifest.authorization_details = {
        tool_call: {
          members: { server: 'same', tools: 'subset', max_calls: 'at_most' },
          required: ['server', 'tools'],
          bounds: { max_calls: 'calls' },
        },
      };
      for (const { id, ceiling } of manifest.principals)
        if (id === otherAgent.id && ceiling) ceiling.authorization_details = [{ type: 'tool_call' }];
      for (let each = 0; each < 40; each += 1)
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

let users = 0;
/** One about whom nothing was counted. */
const somebody = (): string => `u${(users += 1)}`;

const asks = (id: string, action: string, properties: object = {}, rest: object = {}) => ({
  tenant: 'acme',
  subject: { type: 'user', id },
  action: { name: action },
  resource: {
    type: 'document',
    id: 'roadmap',
    properties: { project: 'apollo', sensitivity: 'internal', ...properties },
  },
  ...rest,
});
const decided = async (id: string, action: string, properties: object = {}) =>
  (await check(stage.server.data, asks(id, action, properties))).body;
const allowed = { decision: 'DECISION_ALLOW' };
const last = async (filter: object): Promise<Record<string, unknown>> => {
  const [record] = await stage.records(filter);
  return JSON.parse(Buffer.from(record?.['body'] as string, 'base64').toString()) as Record<string, unknown>;
};
const sumIn = (meter: string, of: string): number => {
  const db = openReader(`${stage.server.folder}/data`);
  try {
    const no = db.prepare<[], TenantNo>("SELECT no FROM tenants WHERE id = 'acme'").pluck().get() as TenantNo;
    return (
      usageStore(db)
        .of(no, meter, of, 0)
        .reduce((sum, { amount }) => sum + amount, 0) / 1_000_000
    );
  } finally {
    db.close();
  }
};

describe('a meter', () => {
  test('counts what is allowed, and the policy sees how much was before', async () => {
    const id = somebody();
    for (let each = 0; each < 5; each += 1) expect(await decided(id, 'document.read')).toMatchObject(allowed);
    expect(await decided(id, 'document.read')).toMatchObject(deniedFor('too_many_reads'));
    expect(await last({ kind: 'decision', principal: { class: 'user', id } })).toMatchObject({
      outcome: 'deny',
      input: { usage: { reads: 5 } },
    });
    expect(await last({ kind: 'decision', principal: { class: 'user', id } })).not.toHaveProperty('counted');
    expect(await decided(somebody(), 'document.read')).toMatchObject(allowed);
    expect(sumIn('reads', `subject user:${id}`)).toBe(5);
  });

  test('stands in the record with what it counts, and not in one that meets none', async () => {
    const id = somebody();
    await decided(id, 'document.pay', { amount: 12.34 });
    expect(await last({ kind: 'decision', principal: { class: 'user', id } })).toMatchObject({
      counted: { spent: 12.34 },
      input: { usage: { spent: 0 } },
    });
    await decided(id, 'document.suggest');
    const { counted, input } = await last({ kind: 'decision', principal: { class: 'user', id } });
    expect(counted).toBeUndefined();
    expect(input).not.toHaveProperty('usage');
  });

  test('lets no more through when many come at once', async () => {
    const id = somebody();
    const answers = await Promise.all(Array.from({ length: 60 }, () => decided(id, 'document.read')));
    expect(answers.filter(({ decision }) => decision === 'DECISION_ALLOW')).toHaveLength(5);
    expect(sumIn('reads', `subject user:${id}`)).toBe(5);
  });

  test('sums tenths and hundredths exactly', async () => {
    const id = somebody();
    for (const amount of [0.1, 0.2, 99.7])
      expect(await decided(id, 'document.pay', { amount })).toMatchObject(allowed);
    expect(await decided(id, 'document.pay', { amount: 0.01 })).toMatchObject(deniedFor('over_budget'));
    expect(sumIn('spent', `actor user:${id}`)).toBe(100);
  });

  test.each([undefined, '5', -1, 0.000_000_1, 1e300, null, [1]])(
    'denies where the request says no amount: %j',
    async (amount) => {
      const id = somebody();
      expect(await decided(id, 'document.pay', { amount })).toMatchObject(deniedFor('usage_unclear'));
      expect(await decided(id, 'document.pay', { amount: 100 })).toMatchObject(allowed);
    },
  );

  test('nothing is counted for 0', async () => {
    const id = somebody();
    expect(await decided(id, 'document.pay', { amount: 0 })).toMatchObject(allowed);
    expect(await last({ kind: 'decision', principal: { class: 'user', id } })).not.toHaveProperty('counted');
  });

  test('is seen by other actions that it does not count', async () => {
    const id = somebody();
    expect(await decided(id, 'document.export')).toMatchObject(deniedFor('no_approval_before'));
    expect(await decided(id, 'document.approve')).toMatchObject(allowed);
    expect(await decided(id, 'document.export')).toMatchObject(allowed);
    expect(await decided(id, 'document.export')).toMatchObject(allowed);
    expect(sumIn('approvals', `subject user:${id}`)).toBe(1);
  });

  test('what is counted goes on after a restart, and is over after its window', async () => {
    const id = somebody();
    for (let each = 0; each < 3; each += 1) await decided(id, 'document.read');
    await stage.restart();
    expect(await decided(id, 'document.read')).toMatchObject(allowed);
    expect(await decided(id, 'document.read')).toMatchObject(allowed);
    expect(await decided(id, 'document.read')).toMatchObject(deniedFor('too_many_reads'));
    ahead += HOUR - 60_000;
    expect(await decided(id, 'document.read')).toMatchObject(deniedFor('too_many_reads'));
    ahead += 3 * 60_000;
    expect(await decided(id, 'document.read')).toMatchObject(allowed);
    // A clock that is set back finds what was counted before.
    ahead = 0;
    expect(await decided(id, 'document.read')).toMatchObject(deniedFor('too_many_reads'));
  });
});

describe('a batch', () => {
  const batch = async (id: string, count: number, rest: object = {}) => {
    const { tenant, ...item } = asks(id, 'document.read');
    const items = Array.from({ length: count }, () => item);
    const { body } = await connect<{ results: { decision: string }[] }>(
      stage.server.data,
      'DecisionService/CheckBatch',
      { tenant, items, ...rest },
    );
    return body.results.map(({ decision }) => decision === 'DECISION_ALLOW');
  };

  test('counts each item that it allows', async () => {
    const id = somebody();
    expect((await batch(id, 8)).filter(Boolean)).toHaveLength(5);
    expect(sumIn('reads', `subject user:${id}`)).toBe(5);
    expect(await decided(id, 'document.read')).toMatchObject(deniedFor('too_many_reads'));
  });

  test('that comes with others lets no more through', async () => {
    const id = somebody();
    const all = await Promise.all([batch(id, 4), batch(id, 4), decided(id, 'document.read'), batch(id, 4)]);
    const given = all.flatMap((each) => (Array.isArray(each) ? each : [each.decision === 'DECISION_ALLOW']));
    expect(given.filter(Boolean)).toHaveLength(5);
  });

  test('of a search counts nothing', async () => {
    const id = somebody();
    const url = `${stage.server.data}/t/acme/access/v1/search/action`;
    const { tenant: _, action: _action, ...question } = asks(id, '');
    for (let each = 0; each < 8; each += 1) {
      const { body } = await postJson<{ results: { name: string }[] }>(url, question);
      expect(body.results).toContainEqual({ name: 'document.read' });
    }
    expect(sumIn('reads', `subject user:${id}`)).toBe(0);
    for (let each = 0; each < 5; each += 1) await decided(id, 'document.read');
    const { body } = await postJson<{ results: { name: string }[] }>(url, question);
    expect(body.results).not.toContainEqual({ name: 'document.read' });
  });
});

describe('by a token', () => {
  const TASK = 'urn:mandate:params:oauth:token-type:task';
  const decides = async (token: string) =>
    (await check(stage.server.data, tokenReads(token), bearer(mcp.secret))).body;
  const details = (max: number) =>
    JSON.stringify([{ type: 'tool_call', server: 'docs-mcp', tools: ['search'], max_calls: max }]);
  const granted = async (user: string, fields: Record<string, string>) => {
    const { body } = await stage.exchange(await stage.issuer.sign({ sub: user }), fields);
    return body as typeof body & { task_id: string };
  };
  const again = async (token: string, fields: Record<string, string> = {}) =>
    (await stage.exchange(token, fields)).body;

  test('an exchange anew begins no new count', async () => {
    const { access_token: token, grant_id: root } = await granted(somebody(), {
      authorization_details: details(3),
    });
    expect(await decides(token)).toMatchObject(allowed);
    const { access_token: child } = await again(token);
    expect(await decides(child)).toMatchObject(allowed);
    expect(await decides(token)).toMatchObject(allowed);
    const { access_token: another } = await again(token);
    for (const each of [token, child, another])
      expect(await decides(each)).toMatchObject(deniedFor('usage_exceeded'));
    expect(sumIn('calls', `grant ${root}`)).toBe(3);
  });

  test('what a child is bounded by is counted from the child on', async () => {
    const { access_token: token } = await granted(somebody(), { authorization_details: details(4) });
    expect(await decides(token)).toMatchObject(allowed);
    expect(await decides(token)).toMatchObject(allowed);
    const { access_token: child } = await again(token, { authorization_details: details(1) });
    expect(await decides(child)).toMatchObject(allowed);
    expect(await decides(child)).toMatchObject(deniedFor('usage_exceeded'));
    expect(await decides(token)).toMatchObject(allowed);
    expect(await decides(token)).toMatchObject(deniedFor('usage_exceeded'));
  });

  test('the tokens of a task share its count, and another task has its own', async () => {
    const task = await granted('alice', { task_purpose: 'read', authorization_details: details(6) });
    const token = task.access_token;
    for (let each = 0; each < 3; each += 1) expect(await decides(token)).toMatchObject(allowed);
    const renewed = await form(
      stage.server.data,
      'token',
      exchangeFields(task.task_id, { subject_token_type: TASK }),
      agent,
    );
    const next = renewed.body.access_token;
    expect(await decides(next)).toMatchObject(allowed);
    expect(await last({ kind: 'decision' })).toMatchObject({
      input: { usage: { by_task: 3, calls: 3, reads: 3 } },
    });
    expect(sumIn('by_task', `task ${task.task_id}`)).toBe(4);
    expect(sumIn('calls', `grant ${task.task_id}`)).toBe(4);
  });

  test('what an agent that joined a task is bounded by is counted for its part and for the task', async () => {
    const task = await granted(somebody(), { task_purpose: 'read', authorization_details: details(3) });
    const join = { subject_token_type: TASK, requested_token_type: TASK, may_act: 'agent:other-agent' };
    const part = await again(task.task_id, { ...join, authorization_details: details(2) });
    const renew = async () => {
      const fields = exchangeFields(part.access_token, { subject_token_type: TASK });
      return (await form(stage.server.data, 'token', fields, otherAgent)).body.access_token;
    };
    for (let each = 0; each < 2; each += 1) expect(await decides(await renew())).toMatchObject(allowed);
    expect(await decides(await renew())).toMatchObject(deniedFor('usage_exceeded'));
    expect(await decides(task.access_token)).toMatchObject(allowed);
    expect(await decides(task.access_token)).toMatchObject(deniedFor('usage_exceeded'));
    expect(sumIn('calls', `grant ${part.grant_id}`)).toBe(2);
    expect(sumIn('calls', `grant ${task.task_id}`)).toBe(3);
    expect(sumIn('by_task', `task ${task.task_id}`)).toBe(3);
  });

  test('many at once overspend no bound', async () => {
    const { access_token: token } = await granted(somebody(), { authorization_details: details(2) });
    const children = await Promise.all(
      Array.from({ length: 4 }, async () => (await again(token)).access_token),
    );
    const answers = await Promise.all([...children, token, ...children, token].map((each) => decides(each)));
    expect(answers.filter(({ decision }) => decision === 'DECISION_ALLOW')).toHaveLength(2);
  });
});

test('the records tell what the store has counted', async () => {
  const { body } = await connect<{ records: { body: string }[] }>(
    stage.server.admin,
    'AuditService/Query',
    { tenant: 'acme', pageSize: 1_000, kind: 'decision' },
    bearer(secrets.operator),
  );
  const sums = new Map<string, number>();
  for (const { body: text } of body.records) {
    const record = JSON.parse(Buffer.from(text, 'base64').toString()) as {
      counted?: Record<string, number>;
      input: { subject: { class: string; id: string } };
    };
    const { class: cls, id } = record.input.subject ?? {};
    if (record.counted?.['reads'] !== undefined)
      sums.set(`subject ${cls}:${id}`, (sums.get(`subject ${cls}:${id}`) ?? 0) + record.counted['reads']);
  }
  expect(sums.size).toBeGreaterThan(3);
  for (const [of, sum] of sums) expect(sumIn('reads', of), of).toBe(sum);
});
