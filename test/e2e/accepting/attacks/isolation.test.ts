import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import http2 from 'node:http2';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CheckRequestSchema, CheckResponseSchema } from '../../../../src/gen/mandate/v1/decision_pb.ts';
import { Decision } from '../../../../src/gen/mandate/v1/model_pb.ts';
import { asks, type Served } from '../../../containment/tenants.ts';
import { connect } from '../../requests.ts';
import { bearer, sha256 } from '../../server.ts';
import { acceptingOf, attacked, secrets } from './attacked.ts';

/** Whoever is known to a thread by one name is nobody by another. */

let served: Served;
beforeAll(async () => {
  served = await attacked();
});
afterAll(() => served[Symbol.asyncDispose]());

/** Checks on one connection, each with a credential of its own: how they ended. */
class Connection implements Disposable {
  readonly #session: http2.ClientHttp2Session;

  constructor(url: string) {
    this.#session = http2.connect(url);
    this.#session.on('error', () => undefined);
  }

  async check(tenant: string, authorization?: string, more: http2.OutgoingHttpHeaders = {}): Promise<string> {
    const { subject, action, resource } = asks(tenant);
    const message = toBinary(
      CheckRequestSchema,
      create(CheckRequestSchema, {
        tenant,
        principal: { case: 'subject', value: { type: subject.type, id: subject.id } },
        action,
        resource,
      }),
    );
    const head = Buffer.alloc(5);
    head.writeUInt32BE(message.length, 1);
    const stream = this.#session.request({
      ':method': 'POST',
      ':path': '/mandate.v1.DecisionService/Check',
      'content-type': 'application/grpc',
      te: 'trailers',
      ...(authorization === undefined ? {} : { authorization }),
      ...more,
    });
    let trailers: http2.IncomingHttpHeaders = {};
    const parts: Buffer[] = [];
    stream.on('trailers', (fields) => (trailers = fields)).on('data', (part: Buffer) => parts.push(part));
    stream.end(Buffer.concat([head, message]));
    const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders];
    if (!stream.closed) await once(stream, 'close');
    const said = { ...headers, ...trailers };
    if (said['grpc-status'] !== '0') return String(said['mandate-error-code']);
    const { decision } = fromBinary(CheckResponseSchema, Buffer.concat(parts).subarray(5));
    return decision === Decision.ALLOW ? 'allowed' : 'denied';
  }

  [Symbol.dispose](): void {
    this.#session.destroy();
  }
}

const OPERATOR = 'accepting-test-operator-secret-00000001';
const [ofOne, ofTwo] = [`Bearer ${secrets.one}`, `Bearer ${secrets.two}`];

/** Until a thread decides for it by itself. */
async function hot(connection: Connection, tenant: string, authorization: string): Promise<void> {
  const { decided } = acceptingOf(served).counts;
  for (let round = 0; round < 200 && acceptingOf(served).counts.decided === decided; round += 1)
    expect(await connection.check(tenant, authorization)).toBe('allowed');
  expect(acceptingOf(served).counts.decided).toBeGreaterThan(decided);
}

test('credentials that take turns on one connection are each themselves', async () => {
  using connection = new Connection(served.data);
  await hot(connection, 'one', ofOne);
  await hot(connection, 'two', ofTwo);
  for (let round = 0; round < 20; round += 1) {
    const answers = await Promise.all([
      connection.check('one', ofOne),
      connection.check('two', ofOne),
      connection.check('one', ofTwo),
      connection.check('two', ofTwo),
      connection.check('one'),
      connection.check('one', `${ofOne}x`),
      connection.check('one', 'Digest x'),
      connection.check('constructor', ofOne),
    ]);
    expect(answers).toEqual([
      'allowed',
      'unauthenticated',
      'unauthenticated',
      'allowed',
      ...Array(3).fill('unauthenticated'),
      'tenant_unknown',
    ]);
  }
});

test('what one connection has shown is nothing to another', async () => {
  using connection = new Connection(served.data);
  await hot(connection, 'one', ofOne);
  for (let round = 0; round < 8; round += 1) {
    using other = new Connection(served.data);
    expect(await other.check('one')).toBe('unauthenticated');
    expect(await connection.check('one')).toBe('unauthenticated');
  }
});

test('hundreds of wrong credentials on a connection give the good one no more and no less', async () => {
  using connection = new Connection(served.data);
  await hot(connection, 'one', ofOne);
  const wrong = await Promise.all(
    Array.from({ length: 90 }, (_, at) => connection.check('one', `Bearer wrong-${at}-${'x'.repeat(2_000)}`)),
  );
  expect(new Set(wrong)).toEqual(new Set(['unauthenticated']));
  for (let at = 0; at < 300; at += 1)
    expect(await connection.check('one', `Bearer ${at}`)).toBe('unauthenticated');
  expect(await connection.check('one', ofOne)).toBe('allowed');
  expect(await connection.check('two', ofOne)).toBe('unauthenticated');
});

test('a tenant that was retired and came anew, with another caller, lets the former one in nowhere', async () => {
  await using own = await attacked({ operators: [{ id: 'root', secret_sha256: sha256(OPERATOR) }] });
  using connection = new Connection(own.data);
  const administer = async (method: string, message: object): Promise<void> => {
    const { status } = await connect(own.admin, `TenantService/${method}`, message, bearer(OPERATOR));
    expect(status).toBe(200);
  };
  const put = (secret: string, allow: boolean): Promise<void> => {
    const files = {
      'tenant.yaml': JSON.stringify({
        id: 'three',
        principals: [
          { class: 'user', id: 'u' },
          { class: 'service', id: 'pep', credentials: [{ secret_sha256: sha256(secret) }] },
        ],
      }),
      'policy.rego': `package authz\n\nallow := ${allow}\n`,
    };
    return administer('PutTenant', {
      tenant: 'three',
      files: Object.entries(files).map(([name, text]) => ({
        path: name,
        content: Buffer.from(text).toString('base64'),
      })),
    });
  };
  for (let round = 0; round < 4; round += 1) {
    await put(secrets.one, true);
    for (let at = 0; at < 10; at += 1) expect(await connection.check('three', ofOne)).toBe('allowed');
    await administer('RetireTenant', { tenant: 'three', reason: 'over' });
    expect(await connection.check('three', ofOne)).toBe('tenant_unknown');
    await put(secrets.two, false);
    expect(await connection.check('three', ofOne)).toBe('unauthenticated');
    for (let at = 0; at < 10; at += 1) expect(await connection.check('three', ofTwo)).toBe('denied');
    expect(await connection.check('three', ofOne)).toBe('unauthenticated');
    await administer('RetireTenant', { tenant: 'three', reason: 'over' });
  }
  expect(acceptingOf(own).counts.decided).toBeGreaterThan(0);
});

test('without credentials a page of another origin gets nothing, by the thread or by main', async () => {
  await using dev = await attacked({ dev: true });
  using connection = new Connection(dev.data);
  for (let round = 0; round < 20; round += 1) expect(await connection.check('one')).toBe('allowed');
  expect(acceptingOf(dev).counts.decided).toBeGreaterThan(0);
  // Known by now, and still what it was: an address that a page can ask from.
  for (const names of [{ ':authority': 'evil.example' }, { origin: 'https://evil.example' }])
    expect(await connection.check('one', undefined, names)).toBe('permission_denied');
  const { port } = new URL(dev.data);
  const headers = { host: 'evil.example' };
  const asked = get({ host: '127.0.0.1', port, path: '/t/one/.well-known/authzen-configuration', headers });
  const [{ statusCode }] = (await once(asked, 'response')) as [IncomingMessage];
  asked.destroy();
  expect(statusCode).toBe(421);
});
