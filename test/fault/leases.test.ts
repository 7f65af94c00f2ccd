import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { freePort } from '../../tools/fleet/ports.ts';
import { check, connect, request } from '../e2e/requests.ts';
import { eventually, sha256, writeTenants } from '../e2e/server.ts';
import { type ServeProcess, serveProcess } from './process.ts';

/** An authority and two sidecars that count one budget, each of which is killed at random: nobody counts more than there is. */

const ROUNDS = Number(process.env['FLEET_KILLS'] ?? 2);
/** Of a round a server starts; a slow machine takes ten seconds for it. */
const PATIENCE_MS = 180_000 + ROUNDS * 20_000;
const LIMIT = 400;
const LEASE = 20;
const SECRET = 'sidecar-one-test-secret-000000000001';
const NODES = ['authority', 'one', 'two'] as const;
type Node = (typeof NODES)[number];

let folder: string;
let ports: number[];
const servers = new Map<Node, ServeProcess>();

/** The authority comes back where it was. */
async function serve(node: Node): Promise<void> {
  const [data = 0, admin = 0] = ports;
  const place = path.join(folder, node);
  const config = path.join(place, 'mandate.yaml');
  const isSidecar = node !== 'authority';
  const at = (port: number): string => `http://127.0.0.1:${port}`;
  const own = isSidecar
    ? { authority: { admin: at(admin), data: at(data), secret_file: path.join(folder, 'secret') } }
    : { operators: [{ id: 'sidecars', secret_sha256: sha256(SECRET), may: ['sync.follow'] }] };
  await writeFile(config, stringify({ node, base_url: 'http://pdp.acme.test', ...own }));
  const listen = ['--listen-data', `127.0.0.1:${data}`, '--listen-admin', `127.0.0.1:${admin}`];
  const flags = ['--config', config, ...(isSidecar ? [] : listen)];
  servers.set(node, await serveProcess({ folder: place, isSidecar, flags }));
}

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-leases-'));
  ports = [await freePort(), await freePort()];
  await writeFile(path.join(folder, 'secret'), SECRET, { mode: 0o600 });
  for (const node of NODES) await mkdir(path.join(folder, node));
  await writeTenants(path.join(folder, 'authority'), {
    acme: (manifest) => {
      manifest.meters = {
        exports: { actions: ['counted.export'], per: 'subject', limit: LIMIT, lease: LEASE },
      };
    },
    acmeFiles: {
      'counted.rego': 'package authz\n\nallow if input.action.name == "counted.export"\n',
    },
  });
  await serve('authority');
  await Promise.all([serve('one'), serve('two')]);
  for (const node of NODES)
    await eventually(
      () => request(`${servers.get(node)?.data}/readyz`),
      ({ status }) => status === 200,
    );
}, 180_000);

afterAll(async () => {
  await Promise.all([...servers.values()].map((each) => each.end('SIGTERM')));
  await rm(folder, { recursive: true, force: true });
});

const exporting = {
  tenant: 'acme',
  subject: { type: 'user', id: 'alice' },
  action: { name: 'counted.export' },
  resource: { type: 'report', id: 'r1' },
};

/** What was answered; nothing where the connection went with the process. */
async function ask(node: Node): Promise<string> {
  try {
    const { body } = await check(servers.get(node)?.data ?? '', exporting);
    return body.decision;
  } catch {
    return '';
  }
}

/** Asks until it is told to stop; answers how often it was allowed. */
async function busy(node: Node, isOver: () => boolean): Promise<number> {
  let allowed = 0;
  while (!isOver()) {
    if ((await ask(node)) === 'DECISION_ALLOW') allowed += 1;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return allowed;
}

/** How much the log of a server says that it counted. */
async function counted(node: Node): Promise<number> {
  const { body } = await connect<{ records?: { body: string }[] }>(
    servers.get(node)?.admin ?? '',
    'AuditService/Query',
    { tenant: 'acme', node, pageSize: 1_000, action: 'counted.export', outcome: 'allow' },
  );
  return (body.records ?? []).filter((each) =>
    Buffer.from(each.body, 'base64').toString('utf8').includes('"counted":{"exports":1}'),
  ).length;
}

test(
  'whoever is killed, no more is allowed than there is',
  async () => {
    let allowed = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      let isOver = false;
      const work = NODES.map((node) => busy(node, () => isOver));
      await new Promise((resolve) => setTimeout(resolve, 300 + Math.random() * 500));
      const node = NODES[round % NODES.length] as Node;
      await servers.get(node)?.end('SIGKILL');
      await serve(node);
      await new Promise((resolve) => setTimeout(resolve, 300));
      isOver = true;
      for (const each of await Promise.all(work)) allowed += each;
      expect(allowed).toBeLessThanOrEqual(LIMIT);
    }
    const before = await Promise.all(NODES.map(counted));
    expect(Math.min(...before), 'each counted').toBeGreaterThan(0);
    // All that is left, and not more. Of each sidecar that was killed it may have been two leases less.
    for (let asked = 0; asked < LIMIT; asked += 20) {
      const answers = await Promise.all(Array.from({ length: 20 }, () => ask('authority')));
      allowed += answers.filter((each) => each === 'DECISION_ALLOW').length;
    }
    expect(allowed).toBeLessThanOrEqual(LIMIT);
    expect(allowed).toBeGreaterThan(LIMIT - 2 * LEASE * (ROUNDS + NODES.length));
    const recorded = await Promise.all(NODES.map(counted));
    const sum = recorded.reduce((all, each) => all + each, 0);
    // What was counted and not answered is in a log all the same.
    expect(sum).toBeGreaterThanOrEqual(allowed);
    expect(sum).toBeLessThanOrEqual(LIMIT);
  },
  PATIENCE_MS,
);
