import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mandate } from '../cli/run.ts';
import { type Served, serve } from '../containment/tenants.ts';
import { FILES, MANIFEST } from '../policy/decided/shop.ts';
import { type CheckJson, check, connect, postJson } from './requests.ts';
import { eventually } from './server.ts';

/** A tenant whose repository has packages of its own: a server and every command take it as it is. */

let folder: string;
let shop: string;
let server: Served;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-decision-'));
  shop = path.join(folder, 'tenants', 'shop');
  const files = { ...FILES, 'tenant.yaml': JSON.stringify({ ...MANIFEST, entrypoints: ['shop'] }) };
  for (const [name, text] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(shop, name)), { recursive: true });
    await writeFile(path.join(shop, name), text);
  }
  server = await serve([], { tenants: [path.join(folder, 'tenants')] });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const asks = (id: string, action = 'GET', resource = 'orders/1', type = 'user') => ({
  tenant: 'shop',
  subject: { type, id },
  action: { name: action },
  resource: { type: 'path', id: resource },
});

const decided = async (asked: object) => {
  const { body } = await check(server.data, asked);
  return body as CheckJson & { recordIndex?: string; reasons?: { code: string }[] };
};

describe('served', () => {
  test('its rule decides, with obligations and reasons, and guardrails stand before it', async () => {
    expect(await decided(asks('ann'))).toMatchObject({
      decision: 'DECISION_ALLOW',
      obligations: [{ type: 'log', level: 'info' }],
    });
    for (const [asked, code] of [
      [asks('ben'), 'no_role_has_it'],
      [asks('ann', 'PUT'), 'no_role_has_it'],
      [asks('ann', 'GET', 'night'), 'shop_closed'],
      [asks('eve'), 'principal_disabled'],
      [asks('nobody'), 'principal_unknown'],
      [asks('ann', 'GET', 'orders/1', 'agent'), 'principal_unknown'],
    ] as const) {
      const { decision, reasons = [] } = await decided(asked);
      expect([decision, reasons.map((each) => each.code)]).toEqual([
        'DECISION_DENY',
        expect.arrayContaining([code]),
      ]);
    }
  });

  test("its packages are served by OPA's data API, on their own input", async () => {
    const input = { user: { roles: ['buyer'] }, method: 'GET', path: ['orders'] };
    const { body } = await postJson(`${server.data}/t/shop/v1/data/shop/authz/allow/allow`, { input });
    expect(body).toMatchObject({ result: true });
  });

  test('a record is explained by its own rules', async () => {
    const { recordIndex } = await decided(asks('ann', 'PUT'));
    const { body } = await connect<{
      explanation: { agreement: string; rules: { name: string }[] };
      recorded: string;
    }>(server.admin, 'AuditService/Explain', { tenant: 'shop', index: recordIndex });
    expect(body).toMatchObject({
      recorded: 'same',
      explanation: { agreement: 'same' },
    });
    expect(body.explanation.rules.map(({ name }) => name)).toEqual(['shop.authz.allow']);
  });

  test('a plan is refused by name', async () => {
    const { status, body } = await connect<{ message: string }>(server.data, 'DecisionService/Plan', {
      tenant: 'shop',
      subject: { type: 'user', id: 'ann' },
      action: { name: 'GET' },
      resourceType: 'path',
    });
    expect(status).toBe(400);
    expect(body.message).toMatch(/plan_unsupported: mapping\.rego: data\.shop\.authz\.allow decides/);
  });

  test('a candidate is replayed, and told from what was decided', async () => {
    await decided(asks('ann'));
    const files = {
      ...FILES,
      'authz.rego': FILES['authz.rego'].replace('count(closed) == 0', 'input.method == "HEAD"'),
    };
    const pushed = await connect<{ revision?: { revision: string }; message?: string }>(
      server.admin,
      'PolicyService/PushRevision',
      {
        tenant: 'shop',
        files: Object.entries(files)
          .filter(([name]) => !name.includes('_test.'))
          .map(([name, text]) => ({ path: name, content: Buffer.from(text).toString('base64') })),
      },
    );
    const revision = pushed.body.revision?.revision ?? '';
    expect(revision, pushed.body.message).toMatch(/^sha256:/);
    const ran = await mandate(['--json', 'policy', 'replay', '-t', 'shop', revision], {
      MANDATE_ADMIN_URL: server.admin,
    });
    // What was asked over OPA's data API is no question to the decision, and is counted as none.
    expect(JSON.parse(ran.stdout), ran.stderr).toMatchObject({
      changed: 2,
      drifted: 0,
      failed: 0,
      unasked: 1,
      groups: expect.arrayContaining([
        expect.objectContaining({ change: 'allow → deny', name: 'GET', count: 2 }),
      ]),
    });
  });
});

describe('without a server', () => {
  const input = (roles: string[]) => ({
    now: '2026-01-02T03:04:05.678Z',
    tenant: { id: 'shop' },
    subject: { class: 'user', type: 'user', id: 'ann', properties: {}, groups: [], roles, status: 'active' },
    actors: [],
    action: { name: 'GET', properties: {} },
    resource: { type: 'path', id: 'orders/1', properties: {} },
    context: {},
    grant: null,
  });

  test('check warns of nothing, and tests pass with coverage', async () => {
    const checked = await mandate(['policy', 'check', '--strict', shop]);
    expect([checked.code, checked.stderr]).toEqual([0, '']);
    const ran = await mandate(['policy', 'test', '--coverage', shop]);
    expect([ran.code, ran.stdout]).toEqual([0, expect.stringContaining('PASS: 6/6')]);
  });

  test('eval is the same by three engines, and explained', async () => {
    const file = path.join(folder, 'input.json');
    await writeFile(file, JSON.stringify(input(['guest'])));
    const { code, stdout } = await mandate([
      'policy',
      'eval',
      shop,
      '-i',
      file,
      '--engine',
      'all',
      '--explain',
    ]);
    expect([code, stdout]).toEqual([0, expect.stringContaining('shop.authz.allow')]);
    expect(stdout).toContain('no_role_has_it');
  });

  test('bench and build take it; the bundle decides in OPA', async () => {
    const benched = await mandate(['policy', 'bench', shop, '--count', '1']);
    expect([benched.code, benched.stdout]).toEqual([0, expect.stringContaining('mapping.asked')]);
    const file = path.join(folder, 'bundle.tar.gz');
    expect(await mandate(['policy', 'build', shop, '-o', file])).toMatchObject({ code: 0 });
    const { run } = await import('../foreign/programs.ts');
    for (const [roles, result] of [
      [['buyer'], /"outcome": "allow"/],
      [[], /"outcome": "deny"/],
    ] as const) {
      const answer = await run('bin/opa', ['eval', '-b', file, '-I', '-f', 'json', 'data.mandate.decision'], {
        input: JSON.stringify(input([...roles])),
      });
      expect(answer.stdout).toMatch(result);
    }
  });
});

describe('edited while it is served', () => {
  const rejected = async (): Promise<string> => {
    const { body } = await connect<{ revision: { diagnostics?: object[] } }>(
      server.admin,
      'PolicyService/GetActiveRevision',
      { tenant: 'shop' },
    );
    return JSON.stringify(body.revision.diagnostics ?? []);
  };
  const declare = (decision: string): Promise<void> =>
    writeFile(
      path.join(shop, 'tenant.yaml'),
      JSON.stringify({ ...MANIFEST, entrypoints: ['shop'], decision }),
    );

  test('a decision that is not there is not taken, and what decided goes on; another one decides at once', async () => {
    await declare('data.shop.authz.alow');
    expect(await eventually(rejected, (said) => said !== '[]')).toContain('data.shop.authz.alow');
    expect(await decided(asks('ann'))).toMatchObject({ decision: 'DECISION_ALLOW' });
    await writeFile(path.join(shop, 'none.rego'), 'package none\n\nallow := false\n');
    await writeFile(path.join(shop, 'requests_test.yaml'), 'tests: []\n');
    await declare('data.none.allow');
    await eventually(
      () => decided(asks('ann')),
      ({ decision }) => decision === 'DECISION_DENY',
    );
    await writeFile(path.join(shop, 'requests_test.yaml'), FILES['requests_test.yaml']);
    await declare(MANIFEST.decision);
    await eventually(
      () => decided(asks('ann')),
      ({ decision }) => decision === 'DECISION_ALLOW',
    );
  });
});
