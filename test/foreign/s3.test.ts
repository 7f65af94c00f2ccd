import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { buffer } from 'node:stream/consumers';
import { Sha256 } from '@aws-crypto/sha256-js';
import { SignatureV4 } from '@smithy/signature-v4';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { S3Archive } from '../../src/audit/keeping/s3.ts';
import { freePort } from '../../tools/fleet/ports.ts';
import { eventually } from '../e2e/server.ts';
import { goProgram } from './programs.ts';

/**
 * The archive in a bucket: against AWS's own signer, and, as `make s3`, against a whole store that verifies signatures and
 * checksums: versitygw, which is in Go and takes two minutes to build.
 */

const withoutGateway = withoutIt();

function withoutIt(): string {
  if (process.env['S3_GATEWAY'] !== '1') return ', skipped: `make s3` runs it';
  return spawnSync('go', ['version']).error ? ', skipped: go is missing, install Go 1.26 or newer' : '';
}

const credentials = { accessKeyId: 'archivist', secretAccessKey: 'a secret of the archive' };
const settings = { region: 'eu-central-1', bucket: 'logs', prefix: 'mandate/' };

describe.skipIf(withoutGateway !== '')(`a bucket${withoutGateway}`, () => {
  let folder: string;
  let gateway: ChildProcess;
  let endpoint: string;
  let file: string;
  let sha256: string;

  beforeAll(async () => {
    const program = await goProgram('versitygw');
    folder = await mkdtemp(path.join(tmpdir(), 'mandate-s3-'));
    await mkdir(path.join(folder, 'store/logs'), { recursive: true });
    const port = await freePort();
    endpoint = `http://127.0.0.1:${port}`;
    const { accessKeyId, secretAccessKey } = credentials;
    gateway = spawn(
      program,
      ['-p', `127.0.0.1:${port}`, '-r', settings.region, '-q', 'posix', path.join(folder, 'store')],
      {
        stdio: 'ignore',
        env: { PATH: process.env['PATH'], ROOT_ACCESS_KEY: accessKeyId, ROOT_SECRET_KEY: secretAccessKey },
      },
    );
    await eventually(
      () =>
        fetch(endpoint).then(
          ({ status }) => status,
          () => 0,
        ),
      (status) => status > 0,
    );
    file = path.join(folder, '0-256.jsonl.zst');
    const bytes = randomBytes(3_000_000);
    await writeFile(file, bytes);
    sha256 = createHash('sha256').update(bytes).digest('hex');
  }, 300_000);

  afterAll(async () => {
    gateway.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  });

  test('has the very file, under a key with all that is in an origin', async () => {
    const archive = new S3Archive({ ...settings, endpoint }, credentials);
    const key = 'mandate.example:7400/t/acme/log/main/0-256.jsonl.zst';
    expect(await archive.put(file, key, sha256)).toBe(`s3://logs/mandate/${key}`);
    const kept = await readFile(path.join(folder, 'store/logs/mandate', key));
    expect(createHash('sha256').update(kept).digest('hex')).toBe(sha256);
    // Again is no fault: a server may end before it knows.
    expect(await archive.put(file, key, sha256)).toBe(`s3://logs/mandate/${key}`);
  });

  test.each([
    [
      'a secret that is another',
      {},
      { secretAccessKey: 'no' },
      /^PUT (is answered 403: SignatureDoesNotMatch|was broken off .* HEAD is answered 403)/,
    ],
    [
      'nobody',
      {},
      { accessKeyId: 'nobody' },
      /^PUT (is answered 403: InvalidAccessKeyId|was broken off .* HEAD is answered 40[34])/,
    ],
    [
      'a bucket that is not there',
      { bucket: 'nowhere' },
      {},
      /^PUT (is answered 404: NoSuchBucket|was broken off .* HEAD is answered 404)/,
    ],
    [
      'another region',
      { region: 'us-west-2' },
      {},
      /^PUT (is answered 40\d: |was broken off .* HEAD is answered 40\d)/,
    ],
  ])('%s is told, and nothing of the secret', async (_what, changed, other, words) => {
    const archive = new S3Archive({ ...settings, endpoint, ...changed }, { ...credentials, ...other });
    const failure = await archive.put(file, 'refused', sha256).then(
      () => '',
      (error: Error) => error.message,
    );
    expect(failure).toMatch(words);
    expect(failure).not.toContain(credentials.secretAccessKey);
  });

  test('a file that is not of its SHA-256 is not taken', async () => {
    const archive = new S3Archive({ ...settings, endpoint }, credentials);
    await expect(archive.put(file, 'other', '00'.repeat(32))).rejects.toThrow(/^PUT is answered 400: /);
  });
});

describe('what is sent', () => {
  test.each([
    ['mandate.example:7400/t/acme/log/main/0-256.jsonl.zst', {}],
    ["a key/with (all) that's escaped*/ü+&=~!.zst", {}],
    ['plain', { sessionToken: 'a/session+token==' }],
  ])('is signed as AWS signs it: %s', async (key, more) => {
    const folder = await mkdtemp(path.join(tmpdir(), 'mandate-s3-'));
    const verdicts: boolean[] = [];
    const server = http.createServer((request, response) => {
      void isSignedRightly(request, { ...credentials, ...more }).then(({ isRight, length }) => {
        verdicts.push(isRight);
        kept = length || kept;
        response.writeHead(200, { 'content-length': request.method === 'HEAD' ? kept : 0 }).end();
      });
    });
    let kept = 0;
    try {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const { port } = server.address() as AddressInfo;
      const file = path.join(folder, 'volume');
      await writeFile(file, 'the bytes of a volume');
      const sha256 = createHash('sha256').update('the bytes of a volume').digest('hex');
      const archive = new S3Archive(
        { ...settings, endpoint: `http://127.0.0.1:${port}` },
        { ...credentials, ...more },
      );
      expect(await archive.put(file, key, sha256)).toBe(`s3://logs/mandate/${key}`);
      expect(verdicts).toEqual([true, true]);
    } finally {
      server.closeAllConnections();
      server.close();
      await rm(folder, { recursive: true, force: true });
    }
  });
});

/** Whether AWS's own signer, given what arrived, signs it alike. */
async function isSignedRightly(
  request: http.IncomingMessage,
  { accessKeyId, secretAccessKey, sessionToken }: typeof credentials & { sessionToken?: string },
): Promise<{ isRight: boolean; length: number }> {
  const body = await buffer(request);
  const { authorization = '' } = request.headers;
  const [, names = ''] = /SignedHeaders=([^,]+)/.exec(authorization) ?? [];
  const headers = Object.fromEntries(names.split(';').map((name) => [name, String(request.headers[name])]));
  const signer = new SignatureV4({
    service: 's3',
    region: settings.region,
    sha256: Sha256,
    uriEscapePath: false,
    applyChecksum: false,
    credentials: { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) },
  });
  const at = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(headers['x-amz-date'] ?? '');
  const [, ...parts] = (at ?? []).map(Number);
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = parts;
  const { headers: signed } = await signer.sign(
    {
      method: request.method ?? '',
      protocol: 'http:',
      hostname: '127.0.0.1',
      path: request.url ?? '',
      headers,
    },
    { signingDate: new Date(Date.UTC(year, month - 1, day, hour, minute, second)) },
  );
  const stated = headers['x-amz-content-sha256'];
  const isBody = request.method === 'HEAD' || stated === createHash('sha256').update(body).digest('hex');
  return { isRight: isBody && signed['authorization'] === authorization, length: body.length };
}

describe('a store that is none', () => {
  test.each([
    [
      'answers all and keeps nothing',
      (response: http.ServerResponse) => response.end(),
      /it holds 0 bytes of 5/,
    ],
    [
      'keeps something else',
      (response: http.ServerResponse) =>
        response
          .writeHead(200, {
            'content-length': response.req.method === 'HEAD' ? 5 : 0,
            'x-amz-checksum-sha256': 'AAAA',
          })
          .end(),
      /others than were put/,
    ],
    [
      'sends it elsewhere',
      (response: http.ServerResponse) => response.writeHead(307, { location: 'http://127.0.0.1:9/' }).end(),
      /^PUT is answered 307: /,
    ],
    [
      'fails at length',
      (response: http.ServerResponse) => response.writeHead(500).end('x'.repeat(1_000_000)),
      /./,
    ],
  ])('%s is found out', async (_what, answer, words) => {
    const folder = await mkdtemp(path.join(tmpdir(), 'mandate-s3-'));
    const server = http.createServer((request, response) => {
      request.resume().on('end', () => answer(response));
    });
    try {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const { port } = server.address() as AddressInfo;
      const file = path.join(folder, 'five');
      await writeFile(file, '12345');
      const archive = new S3Archive({ ...settings, endpoint: `http://127.0.0.1:${port}` }, credentials);
      await expect(archive.put(file, 'a/b', '11'.repeat(32))).rejects.toThrow(words);
    } finally {
      server.closeAllConnections();
      server.close();
      await rm(folder, { recursive: true, force: true });
    }
  });
});
