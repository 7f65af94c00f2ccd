import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Approving, asking, publishing } from '../approving.ts';
import { mcp } from '../stage.ts';

/** The attack list of PROTOCOLS.md: approval asked for what was not denied, or more than may be. */

let on: Approving;
/** The server's clock runs ahead of the machine's by this much. In milliseconds. */
let ahead = 0;

beforeAll(async () => {
  on = await Approving.open({ clock: () => Date.now() + ahead });
});
afterAll(() => on[Symbol.asyncDispose]());

describe('a request', () => {
  test('takes a denial of the same caller, for the same, of late', async () => {
    const asked = asking();
    const { body: denied } = await on.evaluate(asked);
    const problem = async (answer: ReturnType<Approving['submit']>): Promise<unknown> =>
      (await answer).body.type;
    const named = (name: string) => `urn:openid:authzen:access-request:error:${name}`;
    const unbound = named('invalid_denial_binding');
    const of = (more: object) => ({ ...denied, context: { ...denied.context, ...more } });
    expect(await problem(on.submit(asked, denied, { secret: mcp.secret }))).toBe(unbound);
    expect(await problem(on.submit(asked, of({ evaluation_id: 'nowhere' })))).toBe(unbound);
    expect(
      await problem(on.submit(asked, of({ access_request: { expires_at: '2099-01-01T00:00:00Z' } }))),
    ).toBe(unbound);
    const other = { ...asked, resource: { type: 'document', id: 'other' } };
    expect(await problem(on.submit(other, denied))).toBe(unbound);
    const more = { ...asked, resource: { ...(asked['resource'] as object), properties: { pages: 9 } } };
    expect(await problem(on.submit(more, denied))).toBe(unbound);
    const reads = { ...publishing, action: { name: 'document.read' } };
    const { body: plain } = await on.evaluate(reads);
    expect(plain.context.access_request).toBeUndefined();
    const forged = of({ evaluation_id: plain.context['decision_id'] });
    expect(await problem(on.submit(reads, forged))).toBe(named('not_requestable'));
    ahead = 601_000;
    try {
      expect(await problem(on.submit(asked, denied))).toBe(named('expired_denial'));
    } finally {
      ahead = 0;
    }
    expect((await on.submit(asked, denied)).status).toBe(202);
  });

  test('is one for the same question, and as many as may be of one who would act', async () => {
    const asked = asking({ subject: { type: 'user', id: 'dan' } });
    const [one, two] = [await on.opened(asked), await on.opened(asked)];
    expect(two).toBe(one);
    const answers = await Promise.all(
      Array.from({ length: 24 }, () => on.request(asking({ subject: { type: 'user', id: 'dan' } }))),
    );
    const refused = answers.filter(({ status }) => status !== 202);
    expect(refused).toHaveLength(5);
    expect(refused[0]).toMatchObject({ status: 429, body: { error: 'resource_exhausted' } });
    expect((await on.request(asking())).status).toBe(202);
  });

  test('has no member that is not known, and texts of bounded length', async () => {
    const asked = asking();
    const { body: denied } = await on.evaluate(asked);
    for (const more of [
      { callback: { endpoint: 'https://pep.example' } },
      { requested_access: { emergency: true } },
      { items: [] },
      { context: { business_justification: 7 } },
      { context: { business_justification: 'x'.repeat(1_025) } },
    ]) {
      const { status, body } = await on.submit({ ...asked, ...more }, denied);
      expect([status, body.error]).toEqual([400, 'invalid_request']);
    }
  });
});
