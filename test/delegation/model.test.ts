import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { check, claimsOf, connect, exchangeFields, form, tokenReads } from '../e2e/requests.ts';
import { basic, bearer, secrets } from '../e2e/server.ts';
import { agent, type Client, mcp, otherAgent, Stage } from './stage.ts';

/**
 * Whatever is done to tokens, tasks and principals, several things at once and in whatever order: no token lives whose
 * ancestor does not, none is wider than what it came from or than its task was capped to, and each that was given has its
 * record.
 */

const TASK = 'urn:mandate:params:oauth:token-type:task';
const operator = bearer(secrets.operator);

type Step =
  | { readonly do: 'exchange' | 'open'; readonly scope: string; readonly use: string }
  | { readonly do: 'onward'; readonly of: number; readonly scope: string }
  | { readonly do: 'narrow'; readonly of: number; readonly scope: string }
  | { readonly do: 'renew'; readonly of: number; readonly scope: string }
  | { readonly do: 'join' | 'go on'; readonly of: number; readonly scope: string }
  | { readonly do: 'cap'; readonly of: number; readonly scope: string; readonly use: string }
  | { readonly do: 'revoke' | 'end'; readonly of: number }
  | { readonly do: 'disable' | 'enable'; readonly whom: number }
  | { readonly do: 'kill' | 'restore' };

const scope = fc.constantFrom('docs.read', 'docs.suggest', 'docs.read docs.suggest');
const use = fc.constantFrom('read', 'suggest', 'act');
const of = fc.nat(50);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constantFrom('exchange' as const, 'open' as const), scope, use }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('onward' as const, 'narrow' as const, 'renew' as const),
      of,
      scope,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constantFrom('join' as const, 'go on' as const), of, scope }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cap' as const), of, scope, use }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('revoke' as const, 'end' as const), of }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom('disable' as const, 'enable' as const), whom: fc.nat(3) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('kill' as const, 'restore' as const) }) },
);

/** Something that was granted. */
interface Given {
  readonly token: string;
  readonly grant: string;
  readonly task: string | undefined;
  readonly holder: Client;
}

interface Grant {
  readonly id: string;
  readonly parentId?: string;
  readonly depth: number;
  readonly scopes: readonly string[];
  readonly use: string;
  readonly state: string;
  readonly expiresAt: string;
  readonly taskCap?: { readonly scopes?: readonly string[]; readonly use?: string };
}

const principals = [
  ['user', 'alice'],
  ['agent', agent.id],
  ['mcp_server', mcp.id],
  ['agent', otherAgent.id],
] as const;

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.open({
    acme: (manifest) => {
      manifest.tasks = { max_hours: 1 };
      const server = manifest.principals.find(({ id }) => id === mcp.id);
      if (server)
        server.ceiling = { scopes: ['docs.read', 'docs.suggest'], audiences: ['docs-api'], max_depth: 4 };
    },
  });
});
afterAll(() => stage[Symbol.asyncDispose]());

interface GrantedJson {
  readonly access_token: string;
  readonly grant_id: string;
  readonly task_id?: string;
}

class Play {
  readonly given: Given[] = [];
  /** Of the other agent, in tasks that it joined. */
  readonly parts: string[] = [];
  readonly #user: string;

  constructor(user: string) {
    this.#user = user;
  }

  async run(each: Step): Promise<void> {
    switch (each.do) {
      case 'exchange':
        return this.#ask(this.#user, { scope: each.scope, use: each.use }, agent);
      case 'open':
        return this.#ask(this.#user, { scope: each.scope, use: each.use, task_purpose: 'play' }, agent);
      case 'onward':
        return this.#of(each.of, ({ token }) =>
          this.#ask(token, { scope: each.scope, audience: 'docs-api' }, mcp),
        );
      case 'narrow':
        return this.#of(each.of, ({ token, holder }) => this.#ask(token, { scope: each.scope }, holder));
      case 'renew':
        return this.#of(each.of, ({ task }) =>
          this.#ask(task ?? 'none', { scope: each.scope, subject_token_type: TASK }, agent),
        );
      case 'join':
        return this.#of(each.of, async ({ task = 'none' }) => {
          const joins = {
            subject_token_type: TASK,
            requested_token_type: TASK,
            may_act: 'agent:other-agent',
          };
          const part = await this.#granted(task, { scope: each.scope, ...joins }, agent);
          if (part) this.parts.push(part.access_token);
        });
      case 'go on': {
        const part = this.parts[each.of % Math.max(1, this.parts.length)] ?? 'none';
        return this.#ask(part, { scope: each.scope, subject_token_type: TASK }, otherAgent);
      }
      case 'cap':
        return this.#of(each.of, async ({ task }) => {
          const cap = { tenant: 'acme', taskId: task, scopes: each.scope.split(' '), use: each.use };
          const by = basic(agent.id, agent.secret);
          const { status } = await connect(stage.server.data, 'DelegationService/CapTask', cap, by);
          expect(status).toBeLessThan(500);
        });
      case 'revoke':
        return this.#of(each.of, async ({ token, holder }) => void (await stage.revoke(token, holder)));
      case 'end':
        return this.#of(each.of, async ({ task, grant }) => {
          const asked = { tenant: 'acme', grantId: task ?? grant };
          await connect(stage.server.data, 'DelegationService/Revoke', asked, basic(agent.id, agent.secret));
        });
      case 'disable':
      case 'enable': {
        const [cls, id] = principals[each.whom] ?? principals[0];
        return stage.setStatus(cls, id, each.do === 'disable' ? 'DISABLED' : 'ACTIVE');
      }
      case 'kill':
      case 'restore': {
        const target = { tenant: 'acme', issuer: stage.issuer.url };
        await connect(
          stage.server.admin,
          `KillService/${each.do === 'kill' ? 'Kill' : 'Restore'}`,
          target,
          operator,
        );
      }
    }
  }

  /** Everybody is there again for the next play. */
  async rest(): Promise<void> {
    await this.run({ do: 'restore' });
    for (const whom of principals.keys()) await this.run({ do: 'enable', whom });
  }

  async #of(index: number, use_: (given: Given) => Promise<void>): Promise<void> {
    const given = this.given[index % Math.max(1, this.given.length)];
    if (given) await use_(given);
  }

  async #ask(subject: string, fields: Record<string, string>, holder: Client): Promise<void> {
    const body = await this.#granted(subject, fields, holder);
    if (body) this.given.push({ token: body.access_token, grant: body.grant_id, task: body.task_id, holder });
  }

  async #granted(
    subject: string,
    fields: Record<string, string>,
    holder: Client,
  ): Promise<GrantedJson | undefined> {
    const asked = exchangeFields(subject, fields);
    const { status, body } = await form<GrantedJson>(stage.server.data, 'token', asked, holder);
    // A refusal is the caller's; a fault would be ours.
    expect(status).toBeLessThan(500);
    return status === 200 ? body : undefined;
  }
}

async function grants(): Promise<Map<string, Grant>> {
  const all = new Map<string, Grant>();
  let pageToken = '';
  do {
    const { body } = await connect<{ grants?: Grant[]; nextPageToken?: string }>(
      stage.server.data,
      'GrantService/ListGrants',
      { tenant: 'acme', includeEnded: true, pageSize: 1_000, pageToken },
      operator,
    );
    // A cap may leave none of the scopes, and JSON says nothing of an empty list.
    for (const each of body.grants ?? []) all.set(each.id, { ...each, scopes: each.scopes ?? [] });
    pageToken = body.nextPageToken ?? '';
  } while (pageToken !== '');
  return all;
}

const USES = ['read', 'suggest', 'act'];

/** What must be so of each that was given, by what the server says of all grants. */
async function holds({ given }: Play): Promise<void> {
  const all = await grants();
  for (const { token, grant: id } of given) {
    const grant = all.get(id);
    expect(grant, 'a token was given without its grant').toBeDefined();
    if (!grant) continue;
    expect(claimsOf(token)['jti']).toBe(id);
    const asked = { ...tokenReads(token, ''), resource: { type: 'document', id: 'handbook' } };
    const { body } = await check(stage.server.data, { ...asked, audience: String(claimsOf(token)['aud']) });
    const isDead =
      body.reasons?.some(({ code }) => code === 'token_revoked' || code === 'token_expired') ?? false;
    const { scopes = grant.scopes, use: most } = grant.taskCap ?? {};
    expect(grant.scopes.every((each) => scopes.includes(each))).toBe(true);
    expect(USES.indexOf(grant.use)).toBeLessThanOrEqual(USES.indexOf(most || 'act'));
    let parent = grant.parentId ? all.get(grant.parentId) : undefined;
    let child = grant;
    while (parent) {
      if (parent.state === 'GRANT_STATE_ENDED')
        expect(isDead, 'it lives, and an ancestor does not').toBe(true);
      expect(child.scopes.every((each) => parent?.scopes.includes(each))).toBe(true);
      expect(USES.indexOf(child.use)).toBeLessThanOrEqual(USES.indexOf(parent.use));
      expect(child.depth).toBeGreaterThanOrEqual(parent.depth);
      expect(Date.parse(child.expiresAt)).toBeLessThanOrEqual(Date.parse(parent.expiresAt));
      child = parent;
      parent = parent.parentId ? all.get(parent.parentId) : undefined;
    }
    if (grant.state === 'GRANT_STATE_ENDED') expect(isDead, 'it lives, and is ended').toBe(true);
    const records = await stage.records({ kind: 'exchange', grantId: id });
    expect(records.map(({ outcome }) => outcome)).toEqual(['allow']);
  }
}

test('no token lives whose ancestor does not, none is wider than its parent, each has its record', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { minLength: 4, maxLength: 16 }),
      async (turns) => {
        const play = new Play(await stage.issuer.sign());
        try {
          // Each turn's steps are under way at once.
          for (const turn of turns) await Promise.all(turn.map((each) => play.run(each)));
          await holds(play);
        } finally {
          await play.rest();
        }
        await holds(play);
      },
    ),
    { numRuns: 25 },
  );
});
