import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import https from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { readConfig } from '../../src/config.ts';
import { type Mandate, start } from '../../src/main.ts';
import { freePort } from '../../tools/fleet/ports.ts';
import { eventually, secrets, sha256 } from '../e2e/server.ts';
import { makeManifests, manifests, repository, textOf, withoutGo } from './manifests.ts';

/** deploy/compose.yaml: what its init makes and its configurations say, run as an authority and two sidecars over TLS. */

const run = promisify(execFile);
const names = ['authority', 'one', 'two'] as const;
const init = path.join(repository, 'deploy/compose/init.sh');
const template = path.join(repository, 'deploy/compose/authority.yaml');

let folder: string;
let ca: string;
const servers = new Map<string, Mandate>();
const at = (...parts: string[]): string => path.join(folder, ...parts);

const made = () =>
  run('sh', [init, at('known'), template, ...names], { env: { ...process.env, SERVER_USER: '0' } });

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-compose-'));
  await made();
  ca = await readFile(at('known/ca.crt'), 'utf8');
  await cp(path.join(repository, 'policies/acme'), at('tenants/acme'), {
    recursive: true,
    filter: (file) => !/_test\.(?:rego|yaml)$/.test(file),
  });
  const ports = { data: await freePort(), admin: await freePort() };
  await begin('authority', await readFile(at('known/authority/mandate.yaml'), 'utf8'), ports);
  for (const name of ['one', 'two']) await begin(name, await textOf('deploy/compose/sidecar.yaml'), ports);
});

afterAll(async () => {
  for (const server of [...servers.values()].toReversed()) await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

/** By its own file, but for the places: a container's are folders here, its names loopback. */
async function begin(name: string, text: string, { data, admin }: { data: number; admin: number }) {
  const isAuthority = name === 'authority';
  const own = text
    .replaceAll('/etc/mandate/own', at('known', name))
    .replaceAll('/etc/mandate/tenants', at('tenants'))
    .replaceAll('/var/lib/mandate', at('stores', name))
    .replaceAll('https://authority:7401', `https://127.0.0.1:${admin}`)
    .replace(/(?<=data: )https:\/\/authority:7400/, `https://127.0.0.1:${data}`)
    .replace(/^data: .*$/m, `data: 127.0.0.1:${isAuthority ? data : 0}`)
    .replace(/^admin: .*$/m, `admin: 127.0.0.1:${isAuthority ? admin : 0}`);
  const file = at(`${name}.yaml`);
  await writeFile(file, own);
  const environment = isAuthority ? {} : { MANDATE_NODE: name };
  servers.set(name, await start(readConfig(environment, { log_level: 'silent' }, file)));
}

/** By the certificate that init made, for the name it was made for. */
function asked(
  port: number,
  servername: string,
  route: string,
  body?: object,
): Promise<{ status: number; text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>();
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${secrets.api}` };
  const request = https.request(
    { host: '127.0.0.1', port, servername, ca, path: route, method: body ? 'POST' : 'GET', headers },
    (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }),
      );
    },
  );
  request.on('error', reject);
  request.end(body && JSON.stringify(body));
  return promise;
}

const serverOf = (name: string): Mandate => {
  const server = servers.get(name);
  if (!server) throw new Error(`${name} does not run`);
  return server;
};

const aliceReads = {
  tenant: 'acme',
  subject: { type: 'user', id: 'alice' },
  action: { name: 'document.read' },
  resource: { type: 'document', id: 'roadmap', properties: { project: 'apollo', sensitivity: 'internal' } },
};

describe('deploy/compose', () => {
  test.for(['one', 'two'])('the sidecar %s has what the authority has, and decides by it', async (name) => {
    const { dataPort } = serverOf(name);
    await eventually(
      () => asked(dataPort, name, '/readyz?verbose'),
      ({ status }) => status === 200,
    );
    const { status, text } = await asked(dataPort, name, '/mandate.v1.DecisionService/Check', aliceReads);
    expect({ status, body: JSON.parse(text) }).toMatchObject({
      status: 200,
      body: { decision: 'DECISION_ALLOW' },
    });
  });

  test('the fleet is seen in the metrics: who follows, and how old what they know is', async () => {
    const valueOf = async (name: string, metric: string): Promise<number> => {
      const text = await serverOf(name).services.metrics();
      return Number(new RegExp(`^${metric} (.*)$`, 'm').exec(text)?.[1]);
    };
    expect(await valueOf('authority', 'mandate_followers')).toBe(2);
    expect(await valueOf('authority', 'mandate_state_age_seconds')).toBe(0);
    for (const name of ['one', 'two']) {
      const age = await valueOf(name, 'mandate_state_age_seconds');
      expect(age).toBeGreaterThan(0);
      expect(age).toBeLessThan(10);
    }
  });

  test('what is secret is read by its server alone, and the hash of it is all that the authority has', async () => {
    for (const file of ['authority/tls.key', 'one/tls.key', 'one/secret', 'ca.key', 'secret'])
      expect((await stat(at('known', file))).mode & 0o077, file).toBe(0);
    const secret = await readFile(at('known/one/secret'), 'utf8');
    const configured = await readFile(at('known/authority/mandate.yaml'), 'utf8');
    expect(secret).toMatch(/^[0-9a-f]{64}$/);
    expect(configured).toContain(sha256(secret));
    expect(configured).not.toContain(secret);
    await expect(stat(at('known/authority/secret'))).rejects.toThrow('ENOENT');
  });

  test('a second start changes nothing', async () => {
    const before = await readFile(at('known/one/tls.crt'), 'utf8');
    await made();
    expect(await readFile(at('known/one/tls.crt'), 'utf8')).toBe(before);
  });

  test('what it made is not taken by a server of another name', async () => {
    await expect(asked(serverOf('one').dataPort, 'two', '/livez')).rejects.toThrow(/does not match/);
  });
});

describe.skipIf(withoutGo !== '')(`deploy/compose.yaml${withoutGo}`, () => {
  beforeAll(() => makeManifests(), 600_000);

  test('is what Compose takes, and a slip of the pen is not', async () => {
    const { code, stdout, stderr } = await manifests(['compose', 'deploy/compose.yaml']);
    expect(code, stderr).toBe(0);
    expect(stdout.trim().split('\n')).toEqual(['authority', 'init', 'one', 'two']);
    const slip = path.join(repository, 'deploy', `.slip-${process.pid}.yaml`);
    await writeFile(slip, (await textOf('deploy/compose.yaml')).replace('read_only: true', 'readonly: true'));
    try {
      expect((await manifests(['compose', slip])).stderr).toContain('readonly');
    } finally {
      await rm(slip);
    }
  });

  test('runs its servers without rights that they do not need, and reaches from this machine alone', async () => {
    const { services } = parse(await textOf('deploy/compose.yaml'), { merge: true }) as {
      services: Record<string, { ports?: string[]; volumes?: unknown[] } & Record<string, unknown>>;
    };
    for (const name of names)
      expect(services[name]).toMatchObject({
        read_only: true,
        cap_drop: ['ALL'],
        security_opt: ['no-new-privileges:true'],
        healthcheck: { test: expect.arrayContaining(['/opt/mandate/bin/health.mjs']) },
      });
    for (const { ports = [] } of Object.values(services))
      for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/);
    // Each server sees its own folder of what init made, and never the authority's key.
    for (const name of names)
      expect(services[name]?.volumes).toContainEqual(
        expect.objectContaining({ source: 'known', volume: { subpath: name } }),
      );
  });
});
