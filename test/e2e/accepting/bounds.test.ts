import { once } from 'node:events';
import net from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { request } from '../requests.ts';
import { eventually } from '../server.ts';
import { ALLOW, allSay, alone, ask, counted, principals, said, saidTo, started } from './started.ts';

/** Bounds hold over all threads together. */

/** An HTTP/1.1 connection that is kept; undefined where the server would not have it. */
async function connected(url: string): Promise<net.Socket | undefined> {
  const socket = net.connect({ host: '127.0.0.1', port: Number(new URL(url).port) });
  socket.on('error', () => undefined);
  const over = new Promise<false>((resolve) => socket.once('close', () => resolve(false)));
  socket.write('GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n');
  const answered = once(socket, 'data').then(
    () => true,
    () => false,
  );
  return (await Promise.race([answered, over])) ? socket : undefined;
}

describe('decisions', () => {
  test('of a tenant are so many a second, whichever thread they are asked of', async () => {
    const RATE = 50;
    const limits = { decisions_per_second: RATE };
    await using fresh = await started({}, [{ id: 'limited', rego: ALLOW, manifest: { principals, limits } }]);
    const began = performance.now();
    const { value, decided } = await counted(fresh.served, 1, async () => {
      const answers: string[] = [];
      for (let round = 0; round < 40; round += 1) answers.push(...(await saidTo(fresh.peps, 'limited')));
      return answers;
    });
    const seconds = (performance.now() - began) / 1_000;
    const allowed = value.filter((each) => each === 'DECISION_ALLOW').length;
    expect(allowed).toBeGreaterThanOrEqual(RATE);
    expect(allowed).toBeLessThanOrEqual(RATE * (1 + seconds) + 1);
    expect(new Set(value)).toEqual(new Set(['DECISION_ALLOW', 'resource_exhausted']));
    expect(decided).toBeGreaterThan(0);
  });

  test('under way are no more than so many at once, and none is left when all are answered', async () => {
    await using fresh = await started({ max_open_decisions: 4 });
    await allSay({ ...fresh, peps: fresh.peps.slice(0, 2) }, 'two', 'DECISION_ALLOW');
    const many = fresh.peps.flatMap((pep) => Array.from({ length: 20 }, () => said(ask(pep, 'two'))));
    const answers = await Promise.all(many);
    expect(new Set(answers)).toEqual(new Set(['DECISION_ALLOW', 'resource_exhausted']));
    const open = async (): Promise<number> => {
      const { body } = await request<{ text: string }>(`${fresh.served.admin}/metrics`);
      return Number(/^mandate_decisions_open (\d+)$/m.exec(body.text)?.[1]);
    };
    expect(await eventually(open, (count) => count === 0)).toBe(0);
    for (const pep of fresh.peps) expect(await said(ask(pep, 'two'))).toBe('DECISION_ALLOW');
  });
});

describe('connections', () => {
  const sockets: net.Socket[] = [];
  afterEach(() => {
    for (const socket of sockets.splice(0)) socket.destroy();
  });
  const open = async (url: string, count: number): Promise<number> => {
    const all = await Promise.all(Array.from({ length: count }, () => connected(url)));
    const kept = all.filter((each) => each !== undefined);
    sockets.push(...kept);
    return kept.length;
  };

  test('of one address are no more than it may have on all threads, and what it closes it may open again', async () => {
    await using fresh = await started({ max_connections_per_address: 8 }, undefined, 0);
    let kept = 0;
    for (let round = 0; round < 6; round += 1) kept += await open(fresh.served.data, 4);
    expect(kept).toBe(8);
    for (const socket of sockets.splice(0)) socket.destroy();
    await eventually(
      () => open(fresh.served.data, 1),
      (count) => count === 1,
    );
    const pep = alone(fresh.served.data);
    expect(await said(ask(pep, 'two'))).toBe('DECISION_ALLOW');
    pep[Symbol.dispose]();
  });
});
