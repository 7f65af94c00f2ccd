import { describe, expect, test } from 'vitest';
import { parseManifest, readManifest } from '../../src/tenancy/manifest.ts';

const DIGEST = 'ab'.repeat(32);
const FORMS =
  'a credential is {secret_sha256: <64 hex digits>}, {secret_scrypt: $scrypt$…}, {spiffe_id: spiffe://…}, {certificate_dns: <host>}, {certificate_subject: CN=…}, {jwks: {keys: […]}}, {jwks_uri: https://…} or {workload: {issuer, claims}}, with id and expires_at where they are wanted';

const withCredential = (credential: unknown) => (): unknown =>
  parseManifest(
    { id: 'acme', principals: [{ class: 'service', id: 'api', credentials: [credential] }] },
    'tenant.yaml',
  );

describe('a credential in tenant.yaml', () => {
  test.each([{ secret_sha256: DIGEST }, { spiffe_id: 'spiffe://acme.example/api' }])('may be %o', (one) => {
    expect(withCredential(one)).not.toThrow();
  });

  test.each([
    ['a key that is mistyped', { secretsha256: DIGEST }, `Unrecognized key: "secretsha256"; ${FORMS}`],
    ['a key too many', { secret_sha256: DIGEST, note: 'x' }, 'Unrecognized key: "note"'],
    ['both forms in one', { secret_sha256: DIGEST, spiffe_id: 'spiffe://a/b' }, FORMS],
    ['none', {}, FORMS],
    ['a text', 'acme-docs-api-demo-secret', FORMS],
  ])('is refused with %s by what it should be', (_name, credential, problem) => {
    expect(withCredential(credential)).toThrow(`tenant.yaml: principals.0.credentials.0: ${problem}`);
    expect(withCredential(credential)).not.toThrow(/demo-secret/);
  });

  test('is refused with a digest or an id of the wrong form by its member', () => {
    expect(withCredential({ secret_sha256: 'AB' })).toThrow('secret_sha256: 64 lower-case hex digits');
    expect(withCredential({ spiffe_id: 'acme/api' })).toThrow('spiffe_id: a SPIFFE id');
  });
});

describe('the claim that names principals', () => {
  const withIssuer = (issuer: object) => (): unknown =>
    parseManifest({ id: 'acme', issuers: [{ issuer: 'https://login.example', ...issuer }] }, 'tenant.yaml');

  test.each(['sub', 'oid', 'email', 'phone_number'])('may be %s', (claim) => {
    expect(withIssuer({ subject_claim: claim })).not.toThrow();
  });

  test.each(['preferred_username', 'upn', 'unique_name', 'username', 'nickname', 'name', 'mail'])(
    'is not %s, which users may choose, unless the tenant vouches for it',
    (claim) => {
      expect(withIssuer({ subject_claim: claim })).toThrow(
        `tenant.yaml: issuers.0.subject_claim: users may choose or change ${claim}`,
      );
      expect(withIssuer({ subject_claim: claim, subject_claim_trusted: true })).not.toThrow();
    },
  );
});

test('a type of subjects is mapped to a class, and a class keeps its own name', () => {
  const withTypes = (types: object) => (): unknown =>
    parseManifest({ id: 'acme', subject_types: types }, 'tenant.yaml');
  expect(withTypes({ identity: 'user', workload: 'service' })).not.toThrow();
  expect(withTypes({ identity: 'robot' })).toThrow('subject_types.identity');
  expect(withTypes({ agent: 'user' })).toThrow(
    'subject_types: a class of principals is not called otherwise',
  );
});

test('an issuer stands once: what is said of it the second time would say nothing', () => {
  const issuers = [
    { issuer: 'https://a.example' },
    { issuer: 'https://a.example', subject_class: 'service' },
  ];
  expect(() => parseManifest({ id: 'acme', issuers }, 'tenant.yaml')).toThrow(
    'tenant.yaml: issuer https://a.example stands twice',
  );
});

test('what is said of a mistake is short, however long the names are and however many', () => {
  const limits = Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [`k${index}`, index]));
  const wrong = [{ limits }, { [`k${'x'.repeat(100_000)}`]: 1 }, { roles: { ['r'.repeat(100_000)]: 1 } }];
  for (const members of wrong)
    expect(() => parseManifest({ id: 'acme', ...members }, 'tenant.yaml')).toThrow(
      /^tenant\.yaml: .{1,1100}$/s,
    );
});

describe('a mistake', () => {
  const document = (...lines: string[]): string => `${['id: acme', ...lines].join('\n')}\n`;

  test.each([
    [
      'in a member',
      ['audit:', '  sealed:', '    - path: /context/a', '    - about: subject', '      path: /subject/id'],
      6,
    ],
    ['in an item', ['audit:', '  sealed:', '    - path: /context/a', '    - path: /context/a'], 4],
    ['in a list on one line', ['', 'audit: { sealed: [{ path: /x }] }'], 3],
    ['in a member that is not known', ['principals:', '  - class: user', '    id: ann', '    rolse: []'], 5],
    ['in what is missing', ['principals:', '  - id: ann'], 3],
    [
      'in a principal that stands twice',
      ['principals:', '  - { class: user, id: a }', '  - { class: user, id: a }'],
      4,
    ],
    [
      'in an issuer that stands twice',
      ['issuers:', '  - issuer: https://a.example', '  - issuer: https://a.example'],
      4,
    ],
  ])('%s is told with its line', (_what, lines, line) => {
    const reading = () => readManifest(document(...lines), 'tenant.yaml');
    expect(reading).toThrow(expect.objectContaining({ line }) as Error);
    expect(reading).toThrow(`tenant.yaml:${line}: `);
  });
});

describe('meters', () => {
  const withMeters =
    (meters: object, authorization_details: object = {}) =>
    (): unknown =>
      parseManifest({ id: 'acme', meters, authorization_details }, 'tenant.yaml');
  const exports = { actions: ['document.export'], per: 'grant' };

  test.each([
    ['per', { ...exports, per: 'tenant' }, 'meters.exports.per'],
    ['no action', { ...exports, actions: [] }, 'meters.exports.actions'],
    ['a window without a unit', { ...exports, window: '60' }, 'a time such as 90s, 15m, 1h or 30d'],
    ['a window that is too short', { ...exports, window: '59s' }, 'a window is one minute to 366 days'],
    ['a window that is too long', { ...exports, window: '367d' }, 'a window is one minute to 366 days'],
    [
      'a sum of what is not the request’s',
      { ...exports, sum: 'subject.properties.rows' },
      'a member of the request',
    ],
    ['a member too many', { ...exports, most: 5 }, 'Unrecognized key: "most"'],
    ['a limit below nothing', { ...exports, limit: -1 }, 'meters.exports.limit'],
    ['a limit that is not counted so finely', { ...exports, limit: 1e-7 }, 'at most six decimals'],
    ['a lease of nothing', { ...exports, limit: 5, lease: 0 }, 'a lease is more than 0'],
    ['a lease of no limit', { ...exports, lease: 5 }, 'a meter with a lease has a limit'],
  ])('are refused with %s', (_, meter, problem) => {
    expect(withMeters({ exports: meter })).toThrow(problem);
  });

  test('are refused with a name that Rego would not read as one', () => {
    expect(withMeters({ 'no-name': exports })).toThrow('a meter is a name such as exports');
  });

  test('a window is told in milliseconds', () => {
    const of = (window: string) =>
      (withMeters({ exports: { ...exports, window } })() as { meters: { exports: { window: number } } })
        .meters.exports.window;
    expect(['90s', '15m', '1h', '30d'].map(of)).toEqual([90_000, 900_000, 3_600_000, 30 * 86_400_000]);
  });

  test.each([
    ['there is no meter calls', { calls: 'calls' }],
    ['by_user counts per subject, not per grant', { calls: 'by_user' }],
    ['what bounds a meter is a member that is at_most', { server: 'exports' }],
  ])('%s', (problem, bounds) => {
    const meters = { exports, by_user: { ...exports, per: 'subject' } };
    const types = { tool_call: { members: { server: 'same', calls: 'at_most' }, bounds } };
    expect(withMeters(meters, types)).toThrow(problem);
    expect(
      withMeters(meters, { tool_call: { ...types.tool_call, bounds: { calls: 'exports' } } }),
    ).not.toThrow();
  });
});
