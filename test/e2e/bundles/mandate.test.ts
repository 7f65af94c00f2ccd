import http from 'node:http';
import { Sha256 } from '@aws-crypto/sha256-js';
import { SignatureV4 } from '@smithy/signature-v4';
import { describe, expect, test } from 'vitest';
import { bobReads, decided, filesIn, policyOf, STRICTER } from '../../policy/revisions/lab.ts';
import { check } from '../requests.ts';
import { bearer, eventually, type Running, sha256, startServer } from '../server.ts';
import { built, policy, readyz, type Served, served } from './stage.ts';

/** What another Mandate serves, and what a bucket holds. */

const SECRET = 'acme-bundle-pulling-test-secret-0001';

const becomes = (server: Running, what: string): Promise<string> =>
  eventually(
    () => decided(server),
    (each) => each === what,
  );

const origin = (): Promise<Running> =>
  startServer({
    overrides: { dev: false },
    acme: (manifest) =>
      manifest.principals.push({
        class: 'service',
        id: 'replica',
        may: ['policy.read'],
        credentials: [{ secret_sha256: sha256(SECRET) }],
      }),
  });

const replicaOf = (url: string, tenant = 'acme'): Promise<Running> =>
  startServer({
    environment: { BUNDLE_TOKEN: SECRET },
    overrides: {
      bundles: [
        {
          tenant,
          https: { url, token_environment: 'BUNDLE_TOKEN' },
          min_seconds: 1,
          max_seconds: 1,
        },
      ],
    },
  });

describe('the bundle of another Mandate', () => {
  test('is pulled by its tag, decides alike, and what becomes active there follows', async () => {
    await using first = await origin();
    await using second = await replicaOf(`${first.data}/t/acme/bundle.tar.gz`);
    await becomes(second, 'allow');
    const { body } = await check(second.data, bobReads);
    expect(body.decision).toBe('DECISION_ALLOW');
    const active = await policyOf(first).active();
    // The same Rego, with the author's name for it. Its tests are not in the bundle.
    expect((await policyOf(second).list())[0]).toMatchObject({
      message: active,
      author: `${first.data}/t/acme/bundle.tar.gz`,
      state: 'active',
    });
    const files = await filesIn(first.tenantFolder('acme'));
    await policyOf(first).push({ ...files, 'closed.rego': STRICTER }, { activate: true });
    await becomes(second, 'deny');
    const revision = (await policyOf(second).list())[0]?.revision ?? '';
    const kept = (await policyOf(second).get(revision, { withContents: true })).body.revision;
    expect(kept.files?.map(({ path }) => path)).toContain('closed.rego');
    expect(kept.files?.some(({ path }) => path.includes('platform'))).toBe(false);
  });

  test('is no other tenant’s', async () => {
    await using first = await origin();
    await using second = await replicaOf(`${first.data}/t/acme/bundle.tar.gz`, 'globex');
    await eventually(
      () => readyz(second),
      (text) => text.includes('it is the policy of the tenant acme'),
    );
    const asked = { ...bobReads, tenant: 'globex', subject: { type: 'user', id: 'alice' } };
    expect((await check(second.data, asked)).body.decision).toBe('DECISION_DENY');
  });

  test('without the right to read it is not had, and the secret is told nobody', async () => {
    await using first = await startServer({ overrides: { dev: false } });
    await using second = await replicaOf(`${first.data}/t/acme/bundle.tar.gz`);
    const text = await eventually(
      () => readyz(second),
      (each) => each.includes('answers 401'),
    );
    expect(text).not.toContain(SECRET);
    expect((await check(first.data, bobReads, bearer(SECRET))).status).toBe(401);
  });
});

const credentials = { accessKeyId: 'puller', secretAccessKey: 'a secret of the bucket' };

/** A store that verifies by AWS's own signer, and answers as S3 does. */
async function bucketWith(objects: ReadonlyMap<string, { bytes: Buffer; etag: string }>): Promise<Served> {
  const answer = async (request: http.IncomingMessage, response: http.ServerResponse): Promise<void> => {
    const { authorization = '' } = request.headers;
    const [, names = ''] = /SignedHeaders=([^,]+)/.exec(authorization) ?? [];
    const headers = Object.fromEntries(names.split(';').map((name) => [name, String(request.headers[name])]));
    const signer = new SignatureV4({
      service: 's3',
      region: 'eu-central-1',
      sha256: Sha256,
      uriEscapePath: false,
      applyChecksum: false,
      credentials,
    });
    const [, ...parts] = (
      /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(headers['x-amz-date'] ?? '') ?? []
    ).map(Number);
    const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts;
    const { headers: signed } = await signer.sign(
      { method: 'GET', protocol: 'http:', hostname: '127.0.0.1', path: request.url ?? '', headers },
      { signingDate: new Date(Date.UTC(year, month - 1, day, hour, minute, second)) },
    );
    if (signed['authorization'] !== authorization)
      return void response.writeHead(403).end('<Code>SignatureDoesNotMatch</Code>');
    const found = objects.get(decodeURIComponent(request.url ?? ''));
    if (!found) return void response.writeHead(404).end('<Code>NoSuchKey</Code>');
    const isKnown = request.headers['if-none-match'] === found.etag;
    response.writeHead(isKnown ? 304 : 200, { etag: found.etag }).end(isKnown ? undefined : found.bytes);
  };
  return served(undefined, (request, response) => void answer(request, response));
}

describe('a bundle in a bucket', () => {
  const started = (endpoint: string, secret: string): Promise<Running> =>
    startServer({
      environment: { AWS_ACCESS_KEY_ID: credentials.accessKeyId, AWS_SECRET_ACCESS_KEY: secret },
      overrides: {
        bundles: [
          {
            tenant: 'acme',
            s3: {
              endpoint,
              region: 'eu-central-1',
              bucket: 'policies',
              prefix: 'mandate/',
              key: 'acme (1).tar.gz',
            },
            min_seconds: 1,
            max_seconds: 1,
          },
        ],
      },
    });

  test('is pulled with requests that AWS’s own signer signs alike, by its tag', async () => {
    const key = '/policies/mandate/acme (1).tar.gz';
    const objects = new Map([[key, { bytes: await built(policy(true)), etag: '"one"' }]]);
    await using bucket = await bucketWith(objects);
    await using server = await started(bucket.url, credentials.secretAccessKey);
    await becomes(server, 'allow');
    await eventually(
      () => Promise.resolve(bucket.requests),
      (requests) => requests.some(({ headers }) => headers['if-none-match'] === '"one"'),
    );
    objects.set(key, { bytes: await built(policy(false)), etag: '"two"' });
    await becomes(server, 'deny');
    expect((await policyOf(server).list())[0]?.author).toBe('s3://policies/mandate/acme (1).tar.gz');
  });

  test('with another secret is not had', async () => {
    await using bucket = await bucketWith(new Map());
    await using server = await started(bucket.url, 'another');
    const text = await eventually(
      () => readyz(server),
      (each) => each.includes('answers 403'),
    );
    expect(text).not.toContain('another');
    expect(await decided(server)).toBe('deny');
  });
});
