import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { readConfig } from '../src/config.ts';

function withFile<T>(text: string, use: (file: string) => T): T {
  const folder = mkdtempSync(path.join(tmpdir(), 'mandate-config-'));
  const file = path.join(folder, 'mandate.yaml');
  writeFileSync(file, text);
  try {
    return use(file);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const refusalOf = (text: string): { code: string; message: string } =>
  withFile(text, (file) => {
    try {
      readConfig({}, {}, file);
    } catch (error) {
      const { code, message } = error as { code: string; message: string };
      return { code, message: message.replace(file, 'FILE') };
    }
    throw new Error('it was taken');
  });

describe('readConfig', () => {
  test('refuses two sinks of one name, and two that write one file', () => {
    const sinks = (...of: string[]): string => `sinks:\n${of.map((each) => `  - ${each}\n`).join('')}`;
    const [a, b] = ['{ name: a, file: { path: out/x } }', '{ name: b, file: { path: ./out/../out/x } }'];
    expect(refusalOf(sinks(a, a.replace('out/x', 'y'))).message).toContain('two sinks have one name');
    expect(refusalOf(sinks(a, b)).message).toContain('two sinks write one file');
  });

  test('takes one archive, and its credentials from the environment alone', () => {
    const s3 = 's3: { endpoint: https://s3.example, bucket: logs }';
    expect(refusalOf(`archive: { folder: a, ${s3} }`).message).toContain('one of folder and s3');
    expect(refusalOf('archive: { after_days: 3 }').message).toContain('one of folder and s3');
    expect(refusalOf(`archive: { ${s3} }`).message).toContain('AWS_ACCESS_KEY_ID');
    expect(refusalOf(`archive: { ${s3.replace(' }', ', secret: x }')} }`).message).toContain('"secret"');
    const credentials = { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' };
    const config = withFile(`archive: { ${s3} }`, (file) => readConfig(credentials, {}, file));
    expect(config.s3Credentials).toEqual({ accessKeyId: 'a', secretAccessKey: 'b' });
    expect(readConfig(credentials).s3Credentials).toBeUndefined();
  });

  test('takes one source for a tenant that is pulled, and its token from the environment', () => {
    const of = (...bundles: string[]): string =>
      `bundles:\n${bundles.map((each) => `  - ${each}\n`).join('')}`;
    const https = 'https: { url: https://b.example/a.tar.gz }';
    const folder = 'folder: { path: /git/current }';
    const refused = (...bundles: string[]): string => refusalOf(of(...bundles)).message;
    expect(refused('{ tenant: acme }')).toContain('one of https, folder and s3');
    expect(refused(`{ tenant: acme, ${https}, ${folder} }`)).toContain('one of https, folder and s3');
    expect(refused(`{ tenant: acme, ${folder}, verify: { key: k } }`)).toContain('a folder is not signed');
    expect(refused(`{ tenant: acme, ${https}, min_seconds: 200 }`)).toContain('min_seconds is more');
    expect(refused(`{ tenant: acme, ${https} }`, `{ tenant: acme, ${folder} }`)).toContain('two bundles');
    const s3 = 's3: { endpoint: https://s3.example, bucket: policies, key: a.tar.gz }';
    expect(refused(`{ tenant: acme, ${s3} }`)).toContain('AWS_ACCESS_KEY_ID');
    const named = `{ tenant: acme, ${https.replace(' }', ', token_environment: ACME_TOKEN }')} }`;
    expect(refused(named)).toContain('ACME_TOKEN of the environment holds no token');
    const config = withFile(of(named), (file) => readConfig({ ACME_TOKEN: 't' }, {}, file));
    expect(config.bundleTokens).toEqual(new Map([['acme', 't']]));
  });

  test('has a default for everything, and is frozen', () => {
    const config = readConfig({});
    expect(config).toMatchObject({
      dev: false,
      data: { host: '127.0.0.1', port: 7400 },
      admin: { host: '127.0.0.1', port: 7401 },
      tenants: [],
    });
    expect(Object.isFrozen(config)).toBe(true);
  });

  test('the command line goes before the environment, the environment before the file', () => {
    withFile('data_dir: from-file\nlog_level: debug\ntenants: [file]\n', (file) => {
      const config = readConfig(
        { MANDATE_CONFIG: file, MANDATE_DATA_DIR: 'from-environment', MANDATE_LOG_LEVEL: 'warn' },
        { log_level: 'error', tenants: undefined },
      );
      expect(config).toMatchObject({ data_dir: 'from-environment', log_level: 'error', tenants: ['file'] });
    });
  });

  test('pods of one configuration are told apart by MANDATE_NODE, which is checked as the member is', () => {
    withFile('node: from-file\n', (file) =>
      expect(readConfig({ MANDATE_CONFIG: file, MANDATE_NODE: 'documents-0' }).node).toBe('documents-0'),
    );
    expect(() => readConfig({ MANDATE_NODE: 'a/../b' })).toThrow(/node/);
  });

  test('logs warnings and what is worse under dev, unless the file or the environment says otherwise', () => {
    const levelOf = (...given: Parameters<typeof readConfig>): string => readConfig(...given).log_level;
    expect(levelOf({})).toBe('info');
    expect(levelOf({}, { dev: true })).toBe('warn');
    expect(levelOf({ MANDATE_LOG_LEVEL: 'debug' }, { dev: true })).toBe('debug');
    expect(levelOf({ MANDATE_LOG_LEVEL: 'debug' }, { dev: true, log_level: 'error' })).toBe('error');
    withFile('dev: true\n', (file) => expect(levelOf({ MANDATE_CONFIG: file })).toBe('warn'));
    withFile('log_level: info\n', (file) =>
      expect(levelOf({ MANDATE_CONFIG: file }, { dev: true })).toBe('info'),
    );
  });

  test('takes IPv6 addresses', () => {
    expect(readConfig({}, { data: '[::1]:0' }).data).toEqual({ host: '::1', port: 0 });
  });

  test.each([
    ['unknown: 1', 'unknown'],
    ['fuel: many', 'fuel'],
    ['fuel: -1', 'fuel'],
    ['data: 7400', 'data'],
    ['data: 127.0.0.1:99999', 'data: an address such as 127.0.0.1:7400'],
    ['data: ":7400"', 'data'],
    ['socket: { path: s, mode: "999" }', 'socket.mode'],
    ['operators: [{ id: root, secret_sha256: short }]', 'operators.0.secret_sha256'],
    ['operators: [{ id: root, may: [everything] }]', 'operators.0'],
    ['base_url: nonsense', 'base_url'],
    ['log_level: loud', 'log_level'],
    ['max_store_bytes: 10', 'max_store_bytes'],
    ['- a list', 'not a mapping'],
    ['{', 'FILE'],
    ['a: &a [*a, *a]', 'FILE'],
  ])('refuses %j, and names what is wrong', (text, message) => {
    const refusal = refusalOf(text);
    expect(refusal.code).toBe('config_invalid');
    expect(refusal.message).toContain(message);
  });

  test('takes peers of an authority over TLS alone, with a secret that is one, and none of a sidecar', () => {
    const admin = 'https://two.example:7401';
    const secret = { MANDATE_PEERS_SECRET: 'peers-secret-000000000000000001' };
    const config = readConfig(secret, { peers: { admin } });
    expect([config.peers?.admin.map(({ origin }) => origin), config.peersSecret]).toEqual([
      [admin],
      secret.MANDATE_PEERS_SECRET,
    ]);
    expect(() => readConfig({}, { peers: { admin: 'http://two.example:7401' } })).toThrow('https');
    expect(() => readConfig({}, { peers: { admin, cert: 'cert.pem' } })).toThrow('come together');
    expect(() => readConfig({ MANDATE_PEERS_SECRET: 'short' }, { peers: { admin } })).toThrow(
      'peers: the secret',
    );
    const authority = { admin, data: 'https://two.example:7400' };
    expect(() => readConfig({}, { authority, base_url: 'https://pdp.example', peers: { admin } })).toThrow(
      'peers: a sidecar',
    );
  });

  test('refuses an address beyond loopback without TLS, and with --dev always', () => {
    const tls = { cert: 'cert.pem', key: 'key.pem' };
    expect(() => readConfig({}, { admin: '192.0.2.1:7401' })).toThrow('takes tls');
    expect(() => readConfig({}, { data: '[::]:7400' })).toThrow('takes tls');
    expect(() => readConfig({}, { data: '0.0.0.0:7400', tls, dev: true })).toThrow('loopback only');
    expect(readConfig({}, { data: '0.0.0.0:7400', tls }).tls).toEqual(tls);
  });
});
