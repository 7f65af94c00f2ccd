import { expect } from 'vitest';
import { connect } from '../requests.ts';
import { alone, background, type Started } from './started.ts';

/** Changes that are acknowledged, and checks that go on meanwhile. */

export type Change = <T = unknown>(method: string, body: object) => Promise<T>;

/** Throws where it is refused: then nothing was acknowledged. */
export const changeOf =
  ({ served }: Started): Change =>
  async <T>(method: string, body: object) => {
    const answer = await connect<T>(served.admin, method, body);
    expect(answer.status, JSON.stringify(answer.body)).toBe(200);
    return answer.body;
  };

export const filesOnWire = (files: Record<string, string>): object[] =>
  Object.entries(files).map(([name, text]) => ({
    path: name,
    content: Buffer.from(text).toString('base64'),
  }));

/** Runs under checks of that tenant, and of one beside it. */
export async function underLoad(
  { served }: Started,
  tenant: string,
  run: () => Promise<void>,
): Promise<void> {
  const others = Array.from({ length: 6 }, () => alone(served.data));
  try {
    await using _ = background(others.slice(0, 4), tenant);
    await using __ = background(others.slice(4), 'two');
    await run();
  } finally {
    for (const other of others) other[Symbol.dispose]();
  }
}
