import { expect } from 'vitest';
import { agent, mcp } from '../delegation/stage.ts';
import type { Issuer } from '../e2e/issuer.ts';
import { check, exchangeFields, form, tokenReads } from '../e2e/requests.ts';
import { bearer } from '../e2e/server.ts';
import type { ServeProcess } from './process.ts';

/** Exchanges and revocations at a process that may be killed, and what has to be so of those that it answered. */

interface Told {
  readonly token: string;
  readonly version: number;
}

export interface Answered {
  readonly minted: Told[];
  readonly revoked: Told[];
}

/** Exchanges and revokes until it is told to stop. `begun`: once there was a first answer; `all`: what was answered. */
export async function busy(
  issuer: Issuer,
  at: ServeProcess,
  isOver: () => boolean,
): Promise<{ begun: Promise<void>; all: Promise<Answered> }> {
  const [minted, revoked]: [Told[], Told[]] = [[], []];
  const begun = Promise.withResolvers<void>();
  const subject = await issuer.sign();
  const told = (token: string, { headers }: { headers: Headers }): Told => ({
    token,
    version: Number(headers.get('mandate-state-version')),
  });
  const worker = async (): Promise<void> => {
    for (let round = 0; !isOver() && round < 2_000; round += 1)
      try {
        const answer = await form(at.data, 'token', exchangeFields(subject), agent);
        const token = answer.body.access_token;
        if (answer.status !== 200 || token === undefined) continue;
        if (round % 3 > 0) minted.push(told(token, answer));
        else {
          const ended = await form<object>(at.data, 'revoke', { token }, agent);
          if (ended.status === 200) revoked.push(told(token, ended));
        }
        begun.resolve();
      } catch {
        // The connection went with the process: nothing was answered.
      }
  };
  const all = Promise.all(Array.from({ length: 8 }, worker)).then(() => ({ minted, revoked }));
  return { begun: begun.promise, all };
}

/** Whatever was answered by another is so at this one. */
export async function holds(at: ServeProcess, { minted, revoked }: Answered): Promise<void> {
  expect(minted.length + revoked.length).toBeGreaterThan(0);
  for (const [all, decision] of [
    [minted, 'DECISION_ALLOW'],
    [revoked, 'DECISION_DENY'],
  ] as const)
    for (const { token, version } of all.slice(-40)) {
      const asked = { ...tokenReads(token, ''), atLeast: version };
      const { body } = await check(at.data, asked, bearer(mcp.secret));
      expect(body, JSON.stringify(body)).toMatchObject({ decision });
    }
}
