import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { watched } from '../harness/machine.ts';
import { answers, freePort, launch } from '../harness/processes.ts';
import { interleaved, median, rawOf } from '../harness/rounds.ts';
import { serve } from '../peers/mandate/server.ts';
import { type Bench, type Row, type RowGroup, row } from '../row.ts';
import { CLIENT, RESOURCE } from '../servers/provider.ts';
import type { TokenRound } from '../servers/tokens.ts';

const CONNECTIONS = 64;
const acme = path.resolve(import.meta.dirname, '../../policies/acme');
const servers = path.resolve(import.meta.dirname, '../servers');

const names = [
  'exchange_vs_oidc_provider',
  'check_new_token_vs_verify',
  'check_seen_token_vs_check',
  'metered_vs_check',
] as const;

/** What tokens cost: to be given one, and to be asked about one. */
export const tokenRows: RowGroup = {
  names,
  measure: async (bench, wanted) => [
    ...(wanted.has(names[0]) ? [await exchanges(bench)] : []),
    ...(names.slice(1).some((name) => wanted.has(name)) ? await checks(bench) : []),
  ],
};

async function exchanges(bench: Bench): Promise<Row> {
  const folder = path.join(bench.folder, 'tokens');
  mkdirSync(folder, { recursive: true });
  const ours = await serve(folder, acme, ['--dev']);
  await using _ours = ours.running;
  const providerUrl = `http://127.0.0.1:${await freePort()}`;
  await using _provider = await launch({
    command: process.execPath,
    args: [path.join(servers, 'provider.ts'), providerUrl],
    log: path.join(folder, 'provider.log'),
    ready: () => answers(`${providerUrl}/.well-known/openid-configuration`),
  });
  const query = 'user=alice&client=research-agent';
  const signedIn = await fetch(`${ours.dataUrl}/t/acme/dev/token?${query}`, { method: 'POST' });
  const { access_token: user } = (await signedIn.json()) as { access_token: string };
  const exchange = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: user,
    subject_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    audience: 'docs-mcp',
    scope: 'docs.read',
  });
  const own = new URLSearchParams({
    grant_type: 'client_credentials',
    scope: 'docs.read',
    resource: RESOURCE,
  });
  const agent = { id: 'research-agent', secret: 'acme-research-agent-demo-secret-0001' };
  const measured = await interleaved(
    bench.rounds,
    {
      ours: () => tokensPerSecond(`${ours.dataUrl}/t/acme/oauth2/token`, agent, exchange, bench.seconds),
      other: () => tokensPerSecond(`${providerUrl}/token`, CLIENT, own, bench.seconds),
    },
    bench.tries,
  );
  const [of, other] = [measured['ours'], measured['other']];
  if (!of || !other) throw new Error('nothing was measured');
  bench.say(
    `tokens: ${Math.round(median(of.figures))} a second, oidc-provider ${Math.round(median(other.figures))}`,
  );
  return row(names[0], 'tokens/s', median(of.figures), median(other.figures), {
    note: 'token exchanges with a durable grant and record, over HTTP/1.1, beside client credentials for a JWT at oidc-provider, which keeps them in memory; wanted: 3 or more',
    raw: { ours: rawOf(of), other: rawOf(other) },
  });
}

/** By as many connections as there are, each asking again when it was answered. */
export async function tokensPerSecond(
  url: string,
  { id, secret }: { id: string; secret: string },
  form: URLSearchParams,
  seconds: number,
): Promise<number> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const body = form.toString();
  const options = {
    agent,
    method: 'POST',
    headers: {
      authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`,
      'content-type': 'application/x-www-form-urlencoded',
      'content-length': Buffer.byteLength(body),
    },
  };
  const ask = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const request = http.request(url, options, (response) => {
        if (response.statusCode !== 200) reject(new Error(`${url} answered ${response.statusCode}`));
        response.resume();
        response.on('end', resolve);
      });
      request.on('error', reject);
      request.end(body);
    });
  await ask();
  const began = performance.now();
  let given = 0;
  const asker = async (): Promise<void> => {
    while (performance.now() - began < seconds * 1_000) {
      await ask();
      given += 1;
    }
  };
  try {
    await Promise.all(Array.from({ length: CONNECTIONS }, asker));
    return (given * 1_000) / (performance.now() - began);
  } finally {
    agent.destroy();
  }
}

async function checks(bench: Bench): Promise<Row[]> {
  const folder = path.join(bench.folder, 'token-checks');
  mkdirSync(folder, { recursive: true });
  const count = bench.quick ? 200 : 3_000;
  const child = fork(path.join(servers, 'tokens.ts'), [folder, String(count)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  if (child.pid !== undefined) watched.add(child.pid);
  const gone = once(child, 'exit').then(() => {
    throw new Error('the server of tokens ended');
  });
  gone.catch(() => undefined);
  const answer = async <T>(): Promise<T> => ((await Promise.race([once(child, 'message'), gone])) as [T])[0];
  await answer();
  const rounds: TokenRound[] = [];
  for (let round = 0; round < bench.rounds; round += 1) {
    const answered = answer<TokenRound>();
    child.send('round');
    rounds.push(await answered);
  }
  child.disconnect();
  await gone.catch(() => undefined);
  const of = (name: keyof TokenRound): number => median(rounds.map((each) => each[name]));
  bench.say(
    `tokens: verified in ${of('verify').toFixed(1)} µs, checked new in ${of('checkNew').toFixed(1)}, seen in ${of('checkSeen').toFixed(1)}, without one in ${of('check').toFixed(1)}`,
  );
  return [
    row(names[1], 'µs', of('checkNew'), of('verify'), {
      note: 'a decision about a token that was not seen before, durably recorded, beside the verification of its signature and times alone (jose); wanted: 1.6 or less',
      raw: { rounds },
    }),
    row(names[2], 'µs', of('checkSeen'), of('check'), {
      note: 'a decision about a token that was seen before beside one without a token, both on the main thread; wanted: 1.2 or less',
    }),
    row(names[3], 'µs', of('checkMetered'), of('check'), {
      note: 'a decision that is counted beside the same one that is not, both on the main thread; wanted: 1.3 or less',
    }),
  ];
}
