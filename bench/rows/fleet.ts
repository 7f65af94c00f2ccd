import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { stringify } from 'yaml';
import { authorityAt } from '../../src/fleet/authority.ts';
import { Postgres } from '../../tools/fleet/postgres.ts';
import { throughput } from '../harness/load.ts';
import { answers, freePort, launch, type Running } from '../harness/processes.ts';
import { interleaved, median, rawOf } from '../harness/rounds.ts';
import { checkFrame } from '../peers/mandate/requests.ts';
import { checkTarget, serve } from '../peers/mandate/server.ts';
import { writeTenant } from '../peers/mandate/tenant.ts';
import { type Bench, type Row, type RowGroup, row } from '../row.ts';
import { typical } from '../scenario/questions.ts';
import { tokensPerSecond } from './tokens.ts';

const AUTHORITIES = 3;
const FOLLOWERS = 50;
const BASE = 'http://127.0.0.1';
const acme = path.resolve(import.meta.dirname, '../../policies/acme');
const cli = path.resolve(import.meta.dirname, '../../dist/src/cli/mandate.js');
const AGENT = { id: 'research-agent', secret: 'acme-research-agent-demo-secret-0001' };

const names = [
  'revoke_to_everywhere_ms',
  'exchange_postgres_vs_embedded',
  'changes_per_s',
  'sidecar_check_vs_embedded',
  'follower_bootstrap_1m_s',
] as const;

/** What it costs to be one of several. Needs PostgreSQL. */
export const fleetRows: RowGroup = {
  names,
  measure: async (bench, wanted) => [
    ...(names.slice(0, 3).some((name) => wanted.has(name)) ? await authorities(bench) : []),
    ...(wanted.has(names[3]) ? [await sidecar(bench)] : []),
    ...(wanted.has(names[4]) ? [await bootstrap(bench)] : []),
  ],
};

interface Server {
  readonly running: Running;
  readonly data: string;
  readonly admin: string;
}

async function start(folder: string, name: string, config: object, at?: number): Promise<Server> {
  const [data, admin] = [at ?? (await freePort()), await freePort()];
  const own = path.join(folder, name);
  mkdirSync(own, { recursive: true });
  const file = path.join(own, 'mandate.yaml');
  const places = {
    dev: true,
    data: `127.0.0.1:${data}`,
    admin: `127.0.0.1:${admin}`,
    data_dir: path.join(own, 'data'),
    node: name,
  };
  writeFileSync(file, stringify({ ...places, ...config }));
  const url = `${BASE}:${data}`;
  const running = await launch({
    command: process.execPath,
    args: [cli, 'serve', '--config', file],
    log: path.join(own, 'mandate.log'),
    ready: () => answers(`${url}/readyz`),
  });
  return { running, data: url, admin: `${BASE}:${admin}` };
}

const exchange = (user: string): URLSearchParams =>
  new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: user,
    subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    audience: 'docs-mcp',
    scope: 'docs.read',
  });

async function userOf(data: string): Promise<string> {
  const query = 'user=alice&client=research-agent';
  const answer = await fetch(`${data}/t/acme/dev/token?${query}`, { method: 'POST' });
  return ((await answer.json()) as { access_token: string }).access_token;
}

async function authorities(bench: Bench): Promise<Row[]> {
  const folder = path.join(bench.folder, 'authorities');
  mkdirSync(folder, { recursive: true });
  await using stack = new AsyncDisposableStack();
  const postgres = stack.use(await Postgres.start());
  const at = await freePort();
  const config = {
    store: postgres.url,
    base_url: `${BASE}:${at}`,
    tenants: [acme],
    master_key_file: path.join(folder, 'master.key'),
  };
  const all: Server[] = [];
  for (let nth = 0; nth < AUTHORITIES; nth += 1) {
    const server = await start(folder, `authority-${nth}`, config, nth === 0 ? at : undefined);
    stack.use(server.running);
    all.push(server);
  }
  const embedded = await start(folder, 'embedded', { tenants: [acme] });
  stack.use(embedded.running);
  const [user, own] = [await userOf(all[0]?.data ?? ''), await userOf(embedded.data)];
  const rate = (server: Server, subject: string) =>
    tokensPerSecond(`${server.data}/t/acme/oauth2/token`, AGENT, exchange(subject), bench.seconds);
  const [first] = all;
  if (!first) throw new Error('no authority');
  const figures: Record<'one' | 'three' | 'alone', number[]> = { one: [], three: [], alone: [] };
  for (let round = 0; round < bench.rounds; round += 1) {
    figures.one.push(await rate(first, user));
    figures.alone.push(await rate(embedded, own));
    figures.three.push((await Promise.all(all.map((each) => rate(each, user)))).reduce((a, b) => a + b, 0));
  }
  const [one, three, alone] = [median(figures.one), median(figures.three), median(figures.alone)];
  bench.say(
    `exchanges a second: ${one.toFixed(0)} by PostgreSQL, ${three.toFixed(0)} by three, ${alone.toFixed(0)} alone`,
  );
  const times = await revocations(bench, all, user);
  const sorted = times.toSorted((a, b) => a - b);
  const part = (of: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * of))] ?? Number.NaN;
  bench.say(`revocations: p50 ${part(0.5).toFixed(0)} ms, p99 ${part(0.99).toFixed(0)} ms`);
  return [
    row(names[0], 'ms', part(0.99), 1_000, {
      note: `p99 from the request that revokes at one of ${AUTHORITIES} authorities until the last of ${FOLLOWERS} followers has the change, under a load of exchanges, all on two cores; p50 ${part(0.5).toFixed(0)} ms; wanted: under 1,000`,
      raw: { p50: part(0.5), p99: part(0.99), count: times.length },
    }),
    row(names[1], 'tokens/s', one, alone, {
      note: 'exchanges of an authority with its order in PostgreSQL, on the same cores, beside those of a server with its own store; wanted: 0.5 or more',
      raw: { ours: figures.one, other: figures.alone },
    }),
    row(names[2], 'changes/s', three, one, {
      note: 'changes of one tenant by three authorities at once beside those of one, all of them and PostgreSQL on two cores',
      raw: { three: figures.three, one: figures.one },
    }),
  ];
}

/** How long each took until all followers had it. */
async function revocations(bench: Bench, all: readonly Server[], user: string): Promise<number[]> {
  const ending = new AbortController();
  const waiting = new Map<string, { left: number; readonly done: () => void }>();
  const seen = { ready: 0, isOver: false };
  const follow = async (server: Server): Promise<void> => {
    const place = {
      url: new URL(server.admin),
      secret: undefined,
      ca: undefined,
      cert: undefined,
      key: undefined,
    };
    const authority = authorityAt(place, { version: 'bench', node: 'bench' });
    async function* pings(): AsyncGenerator<number> {
      for (let number = 1; !ending.signal.aborted; number += 1) {
        yield number;
        await delay(1_000, undefined, { signal: ending.signal }).catch(() => undefined);
      }
    }
    let isFirst = true;
    for await (const news of authority.follow(new Map(), pings(), ending.signal)) {
      if ('heartbeat' in news && isFirst) {
        isFirst = false;
        seen.ready += 1;
      }
      if (!('change' in news) || news.change.name !== 'revokeGrant') continue;
      const { id } = JSON.parse(news.change.body) as { id: string };
      const entry = waiting.get(id);
      if (entry && (entry.left -= 1) === 0) entry.done();
    }
  };
  const following = Array.from({ length: FOLLOWERS }, (_, nth) =>
    follow(all[nth % all.length] as Server).catch((error: unknown) => {
      if (!ending.signal.aborted) throw error;
    }),
  );
  for (let waited = 0; seen.ready < FOLLOWERS && waited < 600; waited += 1) await delay(50);
  if (seen.ready < FOLLOWERS) throw new Error(`${seen.ready} of ${FOLLOWERS} followers are there`);
  const headers = {
    authorization: `Basic ${Buffer.from(`${AGENT.id}:${AGENT.secret}`).toString('base64')}`,
    'content-type': 'application/x-www-form-urlencoded',
  };
  const post = (server: Server, endpoint: string, body: URLSearchParams): Promise<Response> =>
    fetch(`${server.data}/t/acme/oauth2/${endpoint}`, { method: 'POST', headers, body });
  const load = Array.from({ length: 4 }, async (_, nth) => {
    while (!seen.isOver) await (await post(all[nth % all.length] as Server, 'token', exchange(user))).text();
  });
  const times: number[] = [];
  for (let round = 0; round < (bench.quick ? 10 : 200); round += 1) {
    const [minting, revoking] = [all[round % all.length], all[(round + 1) % all.length]] as [Server, Server];
    const { access_token: token } = (await (await post(minting, 'token', exchange(user))).json()) as {
      access_token: string;
    };
    const { jti } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as {
      jti: string;
    };
    const everywhere = new Promise<void>((done) => waiting.set(jti, { left: FOLLOWERS, done }));
    const began = performance.now();
    const revoked = await post(revoking, 'revoke', new URLSearchParams({ token }));
    if (revoked.status !== 200) throw new Error(`revoke answered ${revoked.status}: ${await revoked.text()}`);
    await Promise.race([everywhere, delay(30_000)]);
    times.push(performance.now() - began);
    const late = waiting.get(jti)?.left ?? 0;
    if (late > 0)
      bench.say(`revocations: of ${FOLLOWERS} followers ${late} had not heard of number ${round}`);
    waiting.delete(jti);
  }
  seen.isOver = true;
  await Promise.all(load);
  ending.abort();
  await Promise.all(following);
  return times;
}

async function sidecar(bench: Bench): Promise<Row> {
  const folder = path.join(bench.folder, 'sidecar');
  const tenants = path.join(folder, 'tenants');
  mkdirSync(folder, { recursive: true });
  writeTenant(tenants, { id: 'bench', principals: [typical.principal] });
  const authority = await serve(folder, tenants, ['--dev']);
  await using _authority = authority.running;
  const near = await start(folder, 'near', {
    base_url: authority.dataUrl,
    authority: { admin: authority.adminUrl, data: authority.dataUrl },
  });
  await using _near = near.running;
  const frame = checkFrame('bench', typical);
  const [ours, other] = [
    await checkTarget(near.data, frame, path.join(folder, 'near.bin')),
    await checkTarget(authority.dataUrl, frame, path.join(folder, 'authority.bin')),
  ];
  // What one round leaves to be sent is no part of the next.
  const after: number[] = [];
  const sent = async (): Promise<void> => {
    const began = performance.now();
    while ((await waitingAt(near.admin)) > 0) await delay(100);
    after.push((performance.now() - began) / 1_000);
  };
  const measured = await interleaved(
    bench.rounds,
    {
      ours: () => throughput(ours, bench.seconds),
      other: async () => {
        await sent();
        return await throughput(other, bench.seconds);
      },
    },
    bench.tries,
  );
  const [of, beside] = [measured['ours'], measured['other']];
  if (!of || !beside) throw new Error('nothing was measured');
  // Longer than records wait for a server that has no time left: then they go out beside the decisions.
  await sent();
  const long = bench.quick ? 2 : 20;
  const lasting = { other: await throughput(other, long), ours: await throughput(ours, long) };
  const ratio = (lasting.ours / lasting.other).toFixed(2);
  return row(names[3], 'requests/s', median(of.figures), median(beside.figures), {
    note: `Check at a sidecar beside the same at its authority, which has its own store, one at a time under full load of ${bench.seconds} s; records that waited meanwhile are sent, and verified on the same cores, before the other is asked; over ${long} s, in which they are sent, ${ratio}; wanted: 0.95 or more`,
    raw: { ours: rawOf(of), other: rawOf(beside), sent_after_s: after, lasting },
  });
}

/** How many records a sidecar has still to send. */
async function waitingAt(admin: string): Promise<number> {
  const text = await (await fetch(`${admin}/metrics`)).text();
  const [, waiting] = /^mandate_shipping_lag_records\{.*\} (\d+)$/m.exec(text) ?? [];
  if (waiting === undefined) throw new Error('the sidecar does not say how many records wait');
  return Number(waiting);
}

async function bootstrap(bench: Bench): Promise<Row> {
  const folder = path.join(bench.folder, 'bootstrap');
  const tenants = path.join(folder, 'tenants');
  mkdirSync(folder, { recursive: true });
  writeTenant(tenants, { id: 'bench', principals: [typical.principal] });
  const authority = await serve(folder, tenants, ['--dev']);
  await using _authority = authority.running;
  const [count, each] = [bench.quick ? 10_000 : 1_000_000, 5_000];
  for (let from = 0; from < count; from += each) {
    const principals = Array.from({ length: each }, (_, at) => ({
      class: 'user',
      id: `person-${from + at}`,
      roles: ['engineer'],
      properties: { department: 'research', clearance: 2 },
    }));
    const answer = await fetch(`${authority.adminUrl}/mandate.v1.TenantService/PutPrincipals`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ tenant: 'bench', principals }),
    });
    if (answer.status !== 200) throw new Error(await answer.text());
  }
  bench.say(`bootstrap: ${count} principals are there`);
  const near = await start(folder, 'near', {
    base_url: authority.dataUrl,
    authority: { admin: authority.adminUrl, data: authority.dataUrl },
  });
  await using _near = near.running;
  const mib = near.running.residentMib();
  return row(names[4], 's', near.running.readyMs / 1_000, count, {
    note: `from the start of a sidecar that has nothing until it is ready, with ${count} principals; it holds ${mib.toFixed(0)} MiB then; no figure is asked for`,
    raw: { resident_mib: mib },
  });
}
