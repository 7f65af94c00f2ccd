import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import https from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { subjectOf } from '../../../src/server/subject.ts';
import { parseSubject } from '../../../src/tenancy/registry/subject-name.ts';
import { Authority, type Pair } from '../authority.ts';
import { aliceReads } from '../requests.ts';
import { type Running, startServer } from '../server.ts';

/** A client certificate by its subject (RFC 8705 section 2.1.2, tls_client_auth_subject_dn): compared exactly. */

const SUBJECT = 'CN=deploy,OU=Agents,O=Acme,C=DE';

let folder: string;
let authority: Authority;
let server: Running;
let issued = 0;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-subjects-'));
  authority = await Authority.create(folder, 'ours');
  const { cert, key } = await authority.issue('server', { 'IP.1': '127.0.0.1' });
  server = await startServer({
    overrides: { dev: false, tls: { cert, key, client_ca: authority.ca.cert } },
    acme: ({ principals }) => {
      const api = principals.find(({ id }) => id === 'docs-api');
      api?.credentials?.push({ certificate_subject: SUBJECT });
    },
  });
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

/** As openssl takes a subject: from the least specific part on. */
const named = (subject: string, names: Record<string, string> = {}, more: string[] = []): Promise<Pair> => {
  issued += 1;
  return authority.issue(`client-${issued}`, names, subject, more);
};

const asks = ({ pem }: Pair, tenant = 'acme'): Promise<number> =>
  new Promise((resolve, reject) => {
    const request = https.request(
      `${server.data.replace('http:', 'https:')}/mandate.v1.DecisionService/Check`,
      {
        ca: authority.ca.pem.cert,
        ...pem,
        agent: false,
        method: 'POST',
        headers: { 'content-type': 'application/json' },
      },
      (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      },
    );
    request.on('error', reject);
    request.end(JSON.stringify({ ...aliceReads, tenant }));
  });

test('a caller is known by the subject of its certificate, in the tenant that names it', async () => {
  const good = await named('/C=DE/O=Acme/OU=Agents/CN=deploy');
  expect(await asks(good)).toBe(200);
  expect(await asks(good, 'globex')).toBe(401);
});

describe('a certificate is no caller whose subject', () => {
  test.each([
    ['is of another name', '/C=DE/O=Acme/OU=Agents/CN=deployer'],
    ['is in other letters', '/C=DE/O=Acme/OU=Agents/CN=Deploy'],
    ['is in another order', '/CN=deploy/OU=Agents/O=Acme/C=DE'],
    ['says less', '/C=DE/O=Acme/CN=deploy'],
    ['says more', '/C=DE/O=Acme/OU=Agents/CN=deploy/CN=deploy'],
    ['says more in front', '/DC=evil/C=DE/O=Acme/OU=Agents/CN=deploy'],
    ['has a space more', '/C=DE/O=Acme/OU=Agents/CN=deploy '],
    ['has two spaces for one', '/C=DE/O=Acme /OU=Agents/CN=deploy'],
    ['holds the name as a value', '/CN=CN=deploy,OU=Agents,O=Acme,C=DE'],
    ['holds the rest in one value', '/C=DE/O=Acme/OU=Agents/CN=deploy,OU=Agents,O=Acme,C=DE'],
    ['has letters that look alike', '/C=DE/O=Acme/OU=Agents/CN=dеploy', ['-utf8']],
    ['has an attribute without a keyword', '/C=DE/O=Acme/OU=Agents/emailAddress=a@b.example/CN=deploy'],
    ['has several in one place', '/C=DE/O=Acme/OU=Agents+CN=deploy', ['-multivalue-rdn']],
  ])('%s', async (_, subject, more: string[] = []) => {
    expect(await asks(await named(subject, {}, more))).toBe(401);
  });

  test('stands beside another name, which is the one that counts', async () => {
    const subject = '/C=DE/O=Acme/OU=Agents/CN=deploy';
    for (const names of [
      { 'DNS.1': 'deploy.acme.example' },
      { 'URI.1': 'spiffe://acme.example/x' },
      { 'email.1': 'a@acme.example' },
      { 'IP.1': '192.0.2.1' },
    ])
      expect(await asks(await named(subject, names)), JSON.stringify(names)).toBe(401);
  });
});

test('RFC 4514: what openssl writes of a subject is read as what the certificate says', async () => {
  const run = promisify(execFile);
  const value = fc.string({
    unit: fc.constantFrom(...Array.from('abZ09 .,+"\\<>;=#äß☃𝄞-_()')),
    minLength: 1,
    maxLength: 12,
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.constantFrom('CN', 'O', 'OU', 'L', 'ST', 'DC', 'UID'), value), {
        minLength: 1,
        maxLength: 4,
      }),
      async (parts) => {
        // openssl's own escapes of the option; DC is ASCII alone. A # alone it writes as it is, which RFC 4514 has as hex.
        const usable = parts.filter(
          ([type, text]) => text !== '#' && (type !== 'DC' || /^[\x20-\x7e]+$/.test(text)),
        );
        fc.pre(usable.length > 0);
        const subject = usable
          .map(([type, text]) => `/${type}=${text.replaceAll(/[\\/+]/g, '\\$&')}`)
          .join('');
        const { cert, pem } = await named(subject, {}, ['-utf8']);
        const read = subjectOf(new X509Certificate(pem.cert).raw);
        expect(read).toEqual(usable.toReversed());
        const { stdout } = await run('openssl', [
          'x509',
          '-in',
          cert,
          '-noout',
          '-subject',
          '-nameopt',
          'RFC2253',
        ]);
        expect(parseSubject(stdout.replace(/^subject=/, '').replace(/\n$/, ''))).toEqual(read);
      },
    ),
    { numRuns: 25 },
  );
});

describe('a name', () => {
  test.each([
    '',
    'deploy',
    'CN=',
    'CN=a,',
    ',CN=a',
    'CN=a,,O=b',
    'CN=a, O=b',
    'CN= a',
    'CN=a ',
    'CN=#04024869',
    'CN=a+O=b',
    'CN="a"',
    'CN=a;O=b',
    'CN=<a>',
    'CN=a\\',
    'CN=a\\x',
    'CN=\\ff',
    'CN=\\C3',
    'CN=a\nO=b',
    'CN=a\\0AO=b',
    'CN=a\u202eb',
    '2.5.4.3=a',
    'emailAddress=a@b.example',
    `CN=${'a'.repeat(1_100)}`,
    Array(40).fill('O=a').join(','),
  ])('is not %j', (text) => {
    expect(parseSubject(text)).toBeUndefined();
  });

  test.each<[string, [string, string][]]>([
    // RFC 4514 section 4.
    [
      'UID=jsmith,DC=example,DC=net',
      [
        ['UID', 'jsmith'],
        ['DC', 'example'],
        ['DC', 'net'],
      ],
    ],
    [
      'CN=James \\"Jim\\" Smith\\, III,DC=example',
      [
        ['CN', 'James "Jim" Smith, III'],
        ['DC', 'example'],
      ],
    ],
    ['CN=Lu\\C4\\8Di\\C4\\87', [['CN', 'Lučić']]],
    [
      'cn=\\ a\\20,o=\\#1',
      [
        ['CN', ' a '],
        ['O', '#1'],
      ],
    ],
    ['CN=a=b', [['CN', 'a=b']]],
  ])('%s is read', (text, attributes) => {
    expect(parseSubject(text)).toEqual(attributes);
  });
});
