import { createHash } from 'node:crypto';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { isPublic, post } from '../../src/delegation/callbacks/outbound.ts';
import { listen } from '../e2e/issuer.ts';
import { eventually } from '../e2e/server.ts';
import { Approving, asking } from './approving.ts';

/** Access Request and Approval Profile, section 9: whoever asked is told, and this server is pointed nowhere else. */

interface Told {
  readonly path: string;
  readonly authorization: string;
  readonly text: string;
}

let receiver: Awaited<ReturnType<typeof listen>>;
let on: Approving;
let told: Told[] = [];
/** How many requests for what never answers were given up. */
let givenUp = 0;

beforeAll(async () => {
  receiver = await listen((request, response) => {
    let text = '';
    request.setEncoding('utf8');
    request.on('data', (chunk: string) => {
      text += chunk;
    });
    request.on('end', () => {
      told.push({ path: request.url ?? '', authorization: request.headers.authorization ?? '', text });
      if (request.url === '/moved') response.writeHead(307, { location: `${receiver.url}/elsewhere` }).end();
      // Its answer never comes.
      else if (request.url === '/silent') response.on('close', () => (givenUp += 1));
      else response.end('x'.repeat(100_000));
    });
  });
  on = await Approving.open({
    acme: (manifest) => {
      manifest.approvals = {
        callbacks: ['hook', 'moved', 'silent'].map((path) => `${receiver.url}/${path}`),
      };
    },
  });
});
afterAll(async () => {
  await on[Symbol.asyncDispose]();
  await receiver[Symbol.asyncDispose]();
});
beforeEach(() => {
  told = [];
});

const opened = async (callback: object) => {
  const asked = asking();
  const { body: denied } = await on.evaluate(asked);
  return on.submit({ ...asked, callback }, denied);
};

/** The first that is told. */
async function toldOnce(): Promise<Told> {
  const [first] = await eventually(
    () => Promise.resolve(told),
    ({ length }) => length > 0,
  );
  if (!first) throw new Error('nobody was told');
  return first;
}

describe('a callback', () => {
  test('tells of the task, and no more; signed by the tenant for that endpoint and body', async () => {
    const endpoint = `${receiver.url}/hook`;
    const { body } = await opened({ endpoint, state: 's-1' });
    await on.settle('Approve', body.task.id, { user: 'carol', note: 'hush' });
    const { authorization, text } = await toldOnce();
    const { id, status_endpoint } = body.task;
    expect(JSON.parse(text)).toEqual({ state: 's-1', task: { id, status: 'approved', status_endpoint } });
    const base = `${on.stage.server.data}/t/acme`;
    const { payload } = await jwtVerify(
      authorization.replace('Bearer ', ''),
      createRemoteJWKSet(new URL(`${base}/oauth2/jwks`)),
      { issuer: base, audience: endpoint, typ: 'approval-callback+jwt', requiredClaims: ['exp', 'jti'] },
    );
    expect(payload['body_sha256']).toBe(createHash('sha256').update(text).digest('base64url'));
  });

  test('tells of what was asked for alone', async () => {
    const endpoint = `${receiver.url}/hook`;
    const { body: rejected } = await opened({ endpoint, events: ['approved'] });
    const { body: cancelled } = await opened({ endpoint, events: ['cancelled'] });
    await on.settle('Reject', rejected.task.id, { user: 'carol' });
    await on.cancel(cancelled.task.id);
    const { text } = await toldOnce();
    expect(JSON.parse(text)).toMatchObject({ task: { id: cancelled.task.id, status: 'cancelled' } });
    expect(told).toHaveLength(1);
  });

  test('goes where the tenant has declared, and nowhere else', async () => {
    for (const callback of [
      { endpoint: `${receiver.url}/other` },
      { endpoint: `${receiver.url}/hook?x` },
      { endpoint: 'http://169.254.169.254/latest' },
      {},
      { endpoint: `${receiver.url}/hook`, secret: 'x' },
      { endpoint: `${receiver.url}/hook`, events: ['born'] },
      { endpoint: `${receiver.url}/hook`, state: 'x'.repeat(1_025) },
    ])
      expect(await opened(callback)).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
    expect(told).toEqual([]);
  });

  test('follows no redirect, and nobody waits for one that does not answer', async () => {
    const { body: moved } = await opened({ endpoint: `${receiver.url}/moved` });
    const { body: silent } = await opened({ endpoint: `${receiver.url}/silent` });
    for (const { task } of [moved, silent])
      expect((await on.settle('Approve', task.id, { user: 'carol' })).status).toBe(200);
    expect(givenUp).toBe(0);
    await eventually(
      () => Promise.resolve(told),
      ({ length }) => length >= 2,
    );
    expect(told.map(({ path }) => path)).not.toContain('/elsewhere');
  });
});

describe('an address', () => {
  test.each([
    '0.0.0.0',
    '10.1.2.3',
    '100.64.0.1',
    '127.0.0.1',
    '169.254.169.254',
    '172.31.255.255',
    '192.168.1.1',
    '198.19.0.1',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::ffff:10.0.0.1',
    '64:ff9b::a00:1',
    'fc00::1',
    'fe80::1',
    'ff02::1',
    '2001:db8::1',
    '2002:a00:1::',
    'localhost',
    '',
  ])('%s is nobody on the Internet', (address) => {
    expect(isPublic(address)).toBe(false);
  });

  test.each(['1.1.1.1', '172.32.0.1', '100.128.0.1', '2606:4700::1111'])(
    '%s is one of the Internet',
    (address) => {
      expect(isPublic(address)).toBe(true);
    },
  );

  test.each([
    ['http://example.com/', 'is not https'],
    ['http://127.0.0.1:1/', 'is not https'],
    ['https://127.0.0.1:1/', 'is not at an address of the Internet'],
    ['https://[::1]:1/', 'is not at an address of the Internet'],
    ['https://[::ffff:127.0.0.1]:1/', 'is not at an address of the Internet'],
    ['https://localhost:1/', 'is not at an address of the Internet'],
    ['ftp://example.com/', 'is not https'],
  ])('%s is told nothing: it %s', async (endpoint, why) => {
    await expect(post(endpoint, '{}', 'Bearer x', { loopback: false })).rejects.toThrow(why);
  });
});
