import { afterAll, beforeAll, expect, test } from 'vitest';
import { struct } from '../grpc.ts';
import { type Issuer, startIssuer, trustIn } from '../issuer.ts';
import { aliceReads, connect, exchangeFields, form } from '../requests.ts';
import { bearer, type Running, secrets, startServer } from '../server.ts';
import { seen } from './alike.ts';
import { alone, THREADS } from './started.ts';

/** Checks with a token: main decides them, whatever connection they come on, as it does without threads. */

const AGENT = { id: 'research-agent', secret: secrets.agent };

let issuer: Issuer;
let servers: Running[];
beforeAll(async () => {
  issuer = await startIssuer();
  servers = await Promise.all(
    [THREADS, { accept_threads: 0 }].map((overrides) =>
      startServer({
        overrides,
        acme: (manifest) => {
          manifest.issuers = [trustIn(issuer.url)];
        },
      }),
    ),
  );
});
afterAll(async () => {
  for (const server of servers) await server[Symbol.asyncDispose]();
  await issuer[Symbol.asyncDispose]();
});

const { subject: _, resource, ...reads } = aliceReads;

async function granted(server: Running): Promise<string> {
  const { body } = await form(server.data, 'token', exchangeFields(await issuer.sign()), AGENT);
  return body.access_token;
}

/** On several connections, more often than a thread is told who somebody is. */
async function answers(server: Running, token: string, changes: object = {}): Promise<unknown[]> {
  const question = {
    ...reads,
    subject_token: token,
    audience: 'docs-mcp',
    resource: { ...resource, properties: struct(resource.properties) },
    ...changes,
  };
  const all: unknown[] = [];
  for (let at = 0; at < 4; at += 1) {
    using pep = alone(server.data, secrets.mcp);
    for (let time = 0; time < 3; time += 1)
      all.push(await seen(pep.call('DecisionService', 'Check', question)));
  }
  return all;
}

/** What each server says, which is the same. */
async function alike(ask: (server: Running) => Promise<unknown[]>): Promise<unknown> {
  const [threads, main] = await Promise.all(servers.map(ask));
  expect(threads).toEqual(main);
  return threads?.[0];
}

test.each<[string, string, object]>([
  ['that allows it', 'DECISION_ALLOW', {}],
  ['that does not allow so much', 'DECISION_DENY', { action: { name: 'document.delete' } }],
  ['for another audience', 'DECISION_DENY', { audience: 'docs-api' }],
])('with a token %s', async (_name, decision, changes) => {
  expect(await alike(async (server) => answers(server, await granted(server), changes))).toMatchObject({
    decision,
  });
});

test('with a token that is revoked, or whose tenant was killed and is restored, from then on', async () => {
  const press = async (server: Running, method: 'Kill' | 'Restore'): Promise<void> => {
    const { status } = await connect(
      server.admin,
      `KillService/${method}`,
      { tenant: 'acme', wholeTenant: true },
      bearer(secrets.operator),
    );
    expect(status).toBe(200);
  };
  const ends: ((server: Running, token: string) => Promise<unknown>)[] = [
    (server, token) => form(server.data, 'revoke', { token }, AGENT),
    async (server) => {
      await press(server, 'Kill');
      await press(server, 'Restore');
    },
  ];
  for (const end of ends)
    expect(
      await alike(async (server) => {
        const token = await granted(server);
        const [before] = await answers(server, token);
        expect(before).toMatchObject({ decision: 'DECISION_ALLOW' });
        await end(server, token);
        return await answers(server, token);
      }),
    ).toMatchObject({ decision: 'DECISION_DENY' });
});
