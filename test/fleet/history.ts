import { expect } from 'vitest';
import { agent, mcp } from '../delegation/stage.ts';
import { aliceReads, check, connect, exchangeFields, form, tokenReads } from '../e2e/requests.ts';
import { bearer, type Running } from '../e2e/server.ts';

/** What was answered, of what happens at all servers at once: no answer may contradict one before it. */

interface Token {
  readonly token: string;
  /** Of the state in which it, or one that it came from, had ended; 0 while that was not answered. */
  endedAt: number;
  readonly parent: Token | undefined;
}

const versionIn = (answer: { headers: Headers }): number =>
  Number(answer.headers.get('mandate-state-version'));

const endedAt = (token: Token): number => {
  const own = token.endedAt || Number.POSITIVE_INFINITY;
  return Math.min(own, token.parent ? endedAt(token.parent) : Number.POSITIVE_INFINITY);
};

/** Does everything at once for as long; answers how much was asked. Throws what contradicts. */
export async function history(
  servers: readonly Running[],
  subject: string,
  seconds: number,
): Promise<{ minted: number; ended: number; asked: number }> {
  const tokens: Token[] = [];
  /** By their versions: from when on alice was what. */
  const status: { version: number; isActive: boolean }[] = [{ version: 0, isActive: true }];
  const counts = { minted: 0, ended: 0, asked: 0 };
  const until = performance.now() + seconds * 1_000;
  const any = <T>(all: readonly T[]): T => all[Math.floor(Math.random() * all.length)] as T;

  const mint = async (): Promise<void> => {
    const parent = Math.random() < 0.4 && tokens.length > 0 ? any(tokens) : undefined;
    const fields = parent ? exchangeFields(parent.token, { audience: 'docs-mcp' }) : exchangeFields(subject);
    const { status: code, body } = await form(any(servers).data, 'token', fields, agent);
    if (code !== 200 || body.access_token === undefined) return;
    counts.minted += 1;
    tokens.push({ token: body.access_token, endedAt: 0, parent });
  };
  const end = async (): Promise<void> => {
    if (tokens.length === 0) return;
    const token = any(tokens);
    const answer = await form<object>(any(servers).data, 'revoke', { token: token.token }, agent);
    if (answer.status !== 200) return;
    counts.ended += 1;
    token.endedAt = Math.min(token.endedAt || Number.POSITIVE_INFINITY, versionIn(answer));
  };
  const ask = async (): Promise<void> => {
    if (tokens.length === 0) return;
    const token = any(tokens);
    const atLeast = endedAt(token);
    const isOver = Number.isFinite(atLeast);
    const asked = { ...tokenReads(token.token, ''), ...(isOver && { atLeast }) };
    const { body } = await check(any(servers).data, asked, bearer(mcp.secret));
    counts.asked += 1;
    if (isOver) expect(body.decision, 'a token that had ended').not.toBe('DECISION_ALLOW');
  };
  const toggle = async (): Promise<void> => {
    const isActive = Math.random() < 0.7;
    const answer = await connect(any(servers).admin, 'TenantService/SetPrincipalStatus', {
      tenant: 'acme',
      class: 'user',
      id: 'bob',
      status: `PRINCIPAL_STATUS_${isActive ? 'ACTIVE' : 'DISABLED'}`,
    });
    if (answer.status === 200) status.push({ version: versionIn(answer), isActive });
  };
  const look = async (): Promise<void> => {
    const last = status.at(-1);
    if (!last || last.version === 0) return;
    const asked = { ...aliceReads, subject: { type: 'user', id: 'bob' }, atLeast: last.version };
    const { body } = await check(any(servers).data, asked);
    counts.asked += 1;
    // Nobody changed it since, as far as anybody was answered.
    if (status.at(-1) === last && !isToggling)
      expect(body.decision, 'somebody by his status').toBe(
        last.isActive ? 'DECISION_ALLOW' : 'DECISION_DENY',
      );
  };
  let isToggling = false;
  const worker = async (steps: readonly (() => Promise<void>)[]): Promise<void> => {
    while (performance.now() < until) await any(steps)();
  };
  const toggles = async (): Promise<void> => {
    while (performance.now() < until) {
      isToggling = true;
      await toggle();
      isToggling = false;
      for (let round = 0; round < 6; round += 1) await look();
    }
  };
  await Promise.all([...Array.from({ length: 4 }, () => worker([mint, end, ask, ask, ask])), toggles()]);
  // In the end, everywhere.
  for (const server of servers)
    for (const token of tokens.filter((each) => Number.isFinite(endedAt(each))).slice(-20)) {
      const asked = { ...tokenReads(token.token, ''), atLeast: endedAt(token) };
      const { body } = await check(server.data, asked, bearer(mcp.secret));
      expect(body.decision).not.toBe('DECISION_ALLOW');
    }
  return counts;
}
