import { expect, test } from 'vitest';
import { request } from '../../requests.ts';
import { eventually } from '../../server.ts';
import { acceptingOf, attacked, whileMainStands } from './attacked.ts';

/** Requests that a thread passes on to main, of those who mean no good. */

const HEALTH = 'GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n';

test('many requests at once over HTTP/1.1, on a connection that ends before the answers: nothing of them stays', async () => {
  await using served = await attacked();
  const accepting = acceptingOf(served);
  await whileMainStands(served.data, [HEALTH.repeat(100), HEALTH.repeat(100)]);
  expect(await eventually(async () => accepting.passed, (passed) => passed === 0)).toBe(0);
  expect((await request(`${served.data}/readyz`)).status).toBe(200);
});
