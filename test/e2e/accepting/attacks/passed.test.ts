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
  const [text = ''] = await whileMainStands(served.data, [HEALTH.repeat(12_000) + last]);
  const statuses = Map.groupBy(text.match(/HTTP\/1\.1 \d{3}/g) ?? [], (line) => line.slice(-3));
  expect(statuses.get('429')?.length).toBeGreaterThan(0);
  expect(statuses.get('404')?.length).toBeLessThanOrEqual(12_000);
  expect((await request(`${served.data}/readyz`)).status).toBe(200);
});
