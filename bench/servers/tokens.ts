import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { readConfig } from '../../src/config.ts';
import { start } from '../../src/main.ts';

/**
 * A whole Mandate in a process of its own, asked about tokens without a network between. `argv[2]` is its folder, `argv[3]`
 * how many tokens a round looks at; each message asks for a round, which is answered with microseconds a call.
 */
export interface TokenRound {
  /** Signature and times alone, by jose. */
  readonly verify: number;
  readonly check: number;
  readonly checkNew: number;
  readonly checkSeen: number;
  /** The same as `check`, in a tenant that counts it. */
  readonly checkMetered: number;
}

const IN_FLIGHT = 256;
/** How often a round looks at a token that was seen before: the wait for the last commit is then little of it. */
const PASSES = 5;
const [folder = '', count = '1000'] = process.argv.slice(2);
const root = path.resolve(import.meta.dirname, '../..');
const metered = path.join(folder, 'metered');
cpSync(path.join(root, 'policies/acme'), metered, { recursive: true });
const manifest = readFileSync(path.join(metered, 'tenant.yaml'), 'utf8').replace('id: acme', 'id: metered');
writeFileSync(
  path.join(metered, 'tenant.yaml'),
  `${manifest}\nmeters: { reads: { actions: [document.read], per: subject, window: 1h } }\n`,
);
const overrides = {
  dev: true,
  data: '127.0.0.1:0',
  admin: '127.0.0.1:0',
  data_dir: path.join(folder, 'data'),
  tenants: [path.join(root, 'policies/acme'), metered],
  log_level: 'silent' as const,
};

process.on('disconnect', () => process.exit(0));
if (process.send) {
  const { services, dataPort } = await start(readConfig({}, overrides));
  const tenant = services.tenants.get('acme');
  const presented = { kind: 'secret', secret: 'acme-docs-mcp-demo-secret-000000001' } as const;
  const caller = await services.callers.authenticate(tenant, presented, 'check');
  const agent = await services.callers.authenticate(
    tenant,
    { kind: 'secret', secret: 'acme-research-agent-demo-secret-0001' },
    'exchange',
  );
  const base = `http://127.0.0.1:${dataPort}/t/acme`;
  const query = 'user=alice&client=research-agent';
  const user = (await (await fetch(`${base}/dev/token?${query}`, { method: 'POST' })).json()) as {
    access_token: string;
  };
  const keys = createLocalJWKSet(await services.keys.jwks(tenant));
  const rest = {
    action: { name: 'document.read' },
    resource: { type: 'document', id: 'roadmap', properties: { project: 'apollo', sensitivity: 'internal' } },
    audience: 'docs-mcp',
  };

  const timed = async (
    items: readonly string[],
    each: (item: string) => Promise<unknown>,
  ): Promise<number> => {
    const queue = items.values();
    const began = performance.now();
    const worker = async (): Promise<void> => {
      for (const item of queue) await each(item);
    };
    await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
    return ((performance.now() - began) * 1_000) / items.length;
  };
  /** Whoever asks beside another one has half of the processor at most; one that asks no more is forgotten in a while. */
  const alone: typeof timed = async (items, each) => {
    await delay(2_500);
    return await timed(items, each);
  };
  const exchanged = async (): Promise<string> => {
    const asked = {
      subjectToken: user.access_token,
      subjectTokenType: 'urn:ietf:params:oauth:token-type:access_token' as const,
      issuedTokenType: 'urn:ietf:params:oauth:token-type:access_token' as const,
      authority: undefined,
      audiences: ['docs-mcp'],
      scopes: ['docs.read'],
      actorToken: undefined,
      use: undefined,
      details: [],
      mayAct: undefined,
      lifetimeSeconds: 0,
      proof: undefined,
      certificate: undefined,
      task: undefined,
      approval: undefined,
    };
    return (await services.delegations.exchange(tenant, agent, asked)).token;
  };
  const counting = services.tenants.get('metered');
  const allowed = async (request: object, of = tenant): Promise<void> => {
    const { outcome } = await services.decisions.check(of, caller, { ...rest, ...request });
    if (outcome !== 'allow') throw new Error(`the check is a ${outcome}`);
  };

  process.on('message', () => {
    void (async () => {
      const tokens: string[] = [];
      await timed(
        Array.from({ length: Number(count) }, String),
        async () => void tokens.push(await exchanged()),
      );
      const again = Array.from({ length: PASSES }, () => tokens).flat();
      const stated = { subject: { type: 'user', id: 'alice' } };
      process.send?.({
        verify: await alone(tokens, (each) => jwtVerify(each, keys, { audience: 'docs-mcp' })),
        checkNew: await timed(tokens, (each) => allowed({ token: each })),
        checkSeen: await alone(again, (each) => allowed({ token: each })),
        check: await alone(again, () => allowed(stated)),
        checkMetered: await alone(again, () => allowed(stated, counting)),
      } satisfies TokenRound);
    })();
  });
  process.send('ready');
}
