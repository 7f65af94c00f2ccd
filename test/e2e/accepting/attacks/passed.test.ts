import { expect, test } from 'vitest';
import { request } from '../../requests.ts';
import { eventually } from '../../server.ts';
import { acceptingOf, attacked, whileMainStands } from './attacked.ts';

/** Requests that a thread passes on to main, of those who mean no good. */

const HEALTH = 'GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n';

test('many requests at once over HTTP/1.1, on a connection that ends before the answers: nothing of them stays', async () => {
  await using served = await attacked();
  const accepting = acceptingOf(served);
  await whileMainStands(served.data, [HEALTH.repeat(100), HEALTH.repeat(100)], true);
  expect(
    await eventually(
      async () => accepting.passed,
      (passed) => passed === 0,
    ),
  ).toBe(0);
  expect((await request(`${served.data}/readyz`)).status).toBe(200);
});

test('a stranger who asks more than main takes up is refused where he asks, and nobody else', async () => {
  await using served = await attacked();
  const last = HEALTH.replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n');
  // On as many connections as reach every thread.
  const flood = HEALTH.repeat(2_000) + last;
  const floods = Array.from({ length: 12 }, () => ({ text: flood, from: '127.0.0.1' }));
  const others = Array.from({ length: 8 }, () => ({ text: last, from: '127.0.0.2' }));
  const texts = await whileMainStands(served.data, [...floods, ...others]);
  const statuses = texts.map((text) => (text.match(/HTTP\/1\.1 \d{3}/g) ?? []).map((line) => line.slice(-3)));
  expect(
    statuses
      .slice(0, 12)
      .flat()
      .filter((status) => status === '429').length,
  ).toBeGreaterThan(1_000);
  expect(statuses.slice(12)).toEqual(others.map(() => ['404']));
  expect((await request(`${served.data}/readyz`)).status).toBe(200);
});
