import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LeaseService } from '../../src/gen/mandate/v1/lease_pb.ts';
import { Grpc } from '../e2e/grpc.ts';
import { check, connect } from '../e2e/requests.ts';
import { bearer, eventually, type Running, secrets, sha256, startServer } from '../e2e/server.ts';
import { authorityOverrides, isReady, SIDECAR_SECRET, startSidecar } from './fleet.ts';
import { Line } from './line.ts';

/** Parts of a budget at real sidecars: counted there, and never more of it than there is. */

const LIMIT = 60;
const GLOBEX_ONLY = 'sidecar-of-globex-test-secret-000000001';
const BASE = 'http://pdp.acme.test';

let authority: Running;
let sidecars: Running[];
/** The way of the second sidecar to its authority. */
let admin: Line;

beforeAll(async () => {
  authority = await startServer({
    overrides: {
      base_url: BASE,
      operators: [
        ...(authorityOverrides.operators ?? []),
        {
          id: 'globex-sidecars',
          secret_sha256: sha256(GLOBEX_ONLY),
          tenants: ['globex'],
          may: ['sync.follow'],
        },
      ],
    },
    acme: (manifest) => {
      const exports = { actions: ['counted.export'], per: 'subject', window: '1h' };
      manifest.meters = {
        exports: { ...exports, limit: LIMIT, lease: 10 },
        looks: { ...exports, actions: ['counted.look'] },
      };
      for (let no = 1; no <= 20; no += 1)
        manifest.principals.push({ class: 'user', id: `counted-${no}`, roles: ['reader'] });
    },
    acmeFiles: {
      'counted.rego': `package authz

allow if startswith(input.action.name, "counted.")

deny contains "enough" if {
	input.action.name == "counted.export"
	input.usage.exports >= object.get(input.resource.properties, "most", ${LIMIT})
}
`,
    },
  });
  admin = await Line.to(authority.admin);
  const own = { base_url: BASE };
  sidecars = [
    await startSidecar(authority, { ...own, node: 'one' }),
    await startSidecar({ data: authority.data, admin: admin.url }, { ...own, node: 'two' }),
  ];
  await Promise.all(sidecars.map(isReady));
});

afterAll(async () => {
  for (const each of sidecars) await each[Symbol.asyncDispose]();
  await admin[Symbol.asyncDispose]();
  await authority[Symbol.asyncDispose]();
});

let people = 0;
const somebody = (): { type: string; id: string } => ({ type: 'user', id: `counted-${(people += 1)}` });
const exporting = (subject: object, properties: object = {}) => ({
  tenant: 'acme',
  subject,
  action: { name: 'counted.export' },
  resource: { type: 'report', id: 'r1', properties },
});
const api = bearer(secrets.api);
const ask = async (at: Running, subject: object, properties: object = {}): Promise<string> => {
  const { body } = await check(at.data, exporting(subject, properties), api);
  return body.decision;
};
interface RecordJson {
  body: string;
}
/** What a server has in its own log of somebody, as records are written. */
async function recordsOf(at: Running, { id }: { id: string }): Promise<Record<string, unknown>[]> {
  const { body } = await connect<{ records?: RecordJson[] }>(at.admin, 'AuditService/Query', {
    tenant: 'acme',
    pageSize: 1_000,
    node: at.config.node,
    kind: 'decision',
    principal: { class: 'user', id },
  });
  return (body.records ?? []).map(({ body: text }) =>
    JSON.parse(Buffer.from(text, 'base64').toString('utf8')),
  );
}
/** Asks until the sidecar counts itself. */
const leased = async (at: Running, subject: { type: string; id: string }): Promise<number> => {
  let asked = 0;
  await eventually(
    async () => {
      asked += 1;
      await ask(at, subject);
      return recordsOf(at, subject);
    },
    (records) => records.length > 0,
  );
  return asked;
};

describe('a sidecar with a lease', () => {
  test('counts itself, and what it saw is in its record and no less than what there was', async () => {
    const subject = somebody();
    const [one] = sidecars as [Running];
    await leased(one, subject);
    const [record] = await recordsOf(one, subject);
    expect(record).toMatchObject({ outcome: 'allow', counted: { exports: 1 } });
    const { exports: seen = 0 } =
      (record?.['input'] as { usage?: { exports: number } } | undefined)?.usage ?? {};
    expect(seen).toBeGreaterThanOrEqual(2);
    expect(seen).toBeLessThan(LIMIT);
  });

  test('of many that ask at once at all servers, by stream and by call, no more are let through', async () => {
    const subject = somebody();
    let allowed = 0;
    const count = (decision: string | undefined): void => {
      if (decision === 'DECISION_ALLOW') allowed += 1;
    };
    const byStream = async (at: Running): Promise<void> => {
      using grpc = new Grpc(at.data, secrets.api);
      const stream = grpc.duplex('DecisionService', 'CheckStream');
      for (let id = 1; id <= LIMIT; id += 1)
        stream.write({
          correlation_id: id,
          request: { ...exporting(subject), resource: { type: 'report', id: 'r' } },
        });
      stream.end();
      for await (const { response } of stream as AsyncIterable<{ response?: { decision: string } }>)
        count(response?.decision);
    };
    const byCall = async (at: Running): Promise<void> => {
      for (let done = 0; done < LIMIT / 2; done += 1) count(await ask(at, subject));
    };
    await Promise.all([...sidecars.map(byStream), ...[...sidecars, authority].map(byCall)]);
    expect(allowed).toBeLessThanOrEqual(LIMIT);
    // Some may be leased to the one that nobody asks now, until it gives them back.
    expect(allowed).toBeGreaterThan(LIMIT / 2);
    const records = await Promise.all([...sidecars, authority].map((at) => recordsOf(at, subject)));
    const counted = records.flat().filter((each) => 'counted' in each);
    expect(counted).toHaveLength(allowed);
    for (const { input } of counted)
      expect((input as { usage: { exports: number } }).usage.exports).toBeLessThan(LIMIT);
  });

  test('is asked for less than the limit by a policy: then the authority says how much it was', async () => {
    const subject = somebody();
    const [one] = sidecars as [Running];
    await leased(one, subject);
    // By what a lease shows it would be too many.
    expect(await ask(one, subject, { most: 30 })).toBe('DECISION_ALLOW');
    expect(await ask(one, subject, { most: 1 })).toBe('DECISION_DENY');
  });

  test('goes on while the authority is away, for what it has, and not longer', async () => {
    const subject = somebody();
    const [, two] = sidecars as [Running, Running];
    await leased(two, subject);
    admin.cut();
    const before = (await recordsOf(two, subject)).length;
    for (let done = 0; done < LIMIT; done += 1) await ask(two, subject);
    const own = (await recordsOf(two, subject)).length - before;
    // An eighth of what is left at most, and twice at once.
    expect(own).toBeLessThanOrEqual(20);
    admin.mend();
  });

  test('answers 503 where neither a lease covers it nor an authority can be asked', async () => {
    const nobody = { data: 'http://127.0.0.1:9', admin: authority.admin };
    const alone = await startSidecar(nobody, { node: 'alone', base_url: BASE });
    await using _alone = alone;
    await isReady(alone);
    const looking = { ...exporting(somebody()), action: { name: 'counted.look' } };
    const { status, body } = await check(alone.data, looking, api);
    expect(status).toBe(503);
    expect((body as { message?: string }).message).toContain('no authority can be reached');
  });
});

describe('a lease is refused', () => {
  const client = (secret: string | undefined, url = authority.admin) =>
    createClient(
      LeaseService,
      createGrpcTransport({
        baseUrl: url,
        interceptors: [
          (next) => (request) => {
            if (secret !== undefined) request.header.set('authorization', `Bearer ${secret}`);
            return next(request);
          },
        ],
      }),
    );
  const asked = async (secret: string | undefined, more: object = {}, url?: string): Promise<unknown> => {
    try {
      const wanted = [{ meter: 'exports', of: 'subject user:alice', least: 1n }];
      return await client(secret, url).lease({ tenant: 'acme', wanted, ...more });
    } catch (error) {
      return String(error);
    }
  };

  test.each([
    ['a stranger', 'somebody-that-nobody-knows-0000000001', 'unauthenticated'],
    ['a service of the tenant', secrets.api, 'permission_denied'],
    ['an operator that may not follow', secrets.agent, 'permission_denied'],
    ["another tenant's sidecar", GLOBEX_ONLY, 'unauthenticated'],
  ])('to %s', async (_who, secret, code) => {
    expect(await asked(secret)).toContain(code);
  });

  test('of a tenant that is not there, and of meters that are not there or not leased', async () => {
    const of = 'subject user:alice';
    expect(await asked(SIDECAR_SECRET, { tenant: 'nobody' })).toContain('tenant_unknown');
    for (const meter of ['nothing', '__proto__', 'looks', ''])
      expect(await asked(SIDECAR_SECRET, { wanted: [{ meter, of }] })).toContain('invalid_request');
  });

  test('at a sidecar', async () => {
    const [one] = sidecars as [Running];
    expect(await asked(undefined, {}, one.admin)).toContain('unimplemented');
  });

  test('where somebody takes lease after lease: others find something left, and less each time', async () => {
    const of = `subject user:${somebody().id}`;
    let sum = 0n;
    for (let taken = 0; taken < 80; taken += 1) {
      const { leases } = await client(SIDECAR_SECRET).lease({
        tenant: 'acme',
        wanted: [{ meter: 'exports', of }],
      });
      sum += leases[0]?.amount ?? 0n;
    }
    expect(Number(sum) / 1e6).toBeLessThanOrEqual(LIMIT - 7);
    expect(await ask(authority, { type: 'user', id: of.split(':')[1] ?? '' })).toBe('DECISION_ALLOW');
  });

  test('to give back what one does not have', async () => {
    const { leases } = await client(SIDECAR_SECRET).lease({
      tenant: 'acme',
      returned: [{ id: 'guessed', unused: 1_000_000n }],
    });
    expect(leases).toEqual([]);
  });
});
