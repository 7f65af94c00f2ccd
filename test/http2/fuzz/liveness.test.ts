import fc from 'fast-check';
import { expect, test } from 'vitest';
import { head, NOTHING_LEFT, OK, type Serve, serving, turns } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { counted, END, headers, request, settings, windowUpdate } from '../wire.ts';

/**
 * Nobody waits for ever: however windows were opened, closed and shared, and however the socket was read, once all of
 * them are wide and all is read each answer is there, whole.
 */

/** More of them where `HTTP2_FUZZ_RUNS` says so, other ones with `HTTP2_FUZZ_SEED`. */
const RUNS = Number(process.env['HTTP2_FUZZ_RUNS'] ?? 300);
const SEED = Number(process.env['HTTP2_FUZZ_SEED'] ?? 9_113);

const size = fc.constantFrom(0, 1, 100, 5_000, 16_384, 16_385, 32_768, 40_000, 65_536, 131_072, 300_000);
/** An answer: how it is written, in which parts, and whether each waits until there is room for it. */
const answer = fc.record({
  kind: fc.constantFrom('at once', 'in parts', 'heedless', 'later'),
  parts: fc.array(size, { minLength: 1, maxLength: 6 }),
  trailers: fc.boolean(),
});

const action = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('ask' as const), answer }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('all' as const),
      bytes: fc.constantFrom(1, 1_000, 16_384, 50_000, 200_000, 2_000_000),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('stream' as const),
      at: fc.nat(20),
      bytes: fc.constantFrom(1, 1_000, 16_384, 50_000, 2_000_000),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('settings' as const),
      window: fc.constantFrom(0, 10, 30_000, 65_535, 1_000_000),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('pause' as const, 'resume' as const) }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('turn' as const), count: fc.integer({ min: 1, max: 5 }) }),
  },
);

const actions = fc.array(action, { maxLength: 40 });
type Actions = typeof actions extends fc.Arbitrary<infer T> ? T : never;
type Plan = typeof answer extends fc.Arbitrary<infer T> ? T : never;

const serveBy =
  (plans: readonly Plan[]): Serve =>
  (stream) => {
    const { kind, parts, trailers } = plans[Number(stream.line.path.slice(1))] as Plan;
    const tail = trailers ? head(200, ['done', 'yes']) : undefined;
    const bodies = parts.map((length, at) => counted(length, at * 7));
    if (kind === 'at once') return stream.answer(OK, Buffer.concat(bodies), tail);
    stream.respond(OK);
    const write = (): void => {
      for (let body = bodies.shift(); body; body = bodies.shift())
        if (!stream.write(body) && kind !== 'heedless') return;
      stream.end(tail);
    };
    const drained = (): void => (kind === 'later' ? void setImmediate(write) : write());
    stream.receive({ data: () => undefined, end: write, drained, closed: () => stream.settle() });
  };

async function check(client: RawClient, at: number, { parts, trailers }: Plan): Promise<void> {
  const { body, isEnded, trailers: last } = await client.answered(2 * at + 1);
  expect([at, isEnded, body.length]).toEqual([at, true, parts.reduce<number>((sum, part) => sum + part, 0)]);
  expect(body.equals(Buffer.concat(parts.map((length, part) => counted(length, part * 7))))).toBe(true);
  expect(last.length > 0).toBe(trailers);
}

/** `late` has a bit for each stream whose window is opened only after all others have got their answers. */
async function play(first: number, late: number, steps: Actions) {
  const plans = steps.flatMap((each) => (each.kind === 'ask' ? [each.answer] : []));
  const served = await serving({ serve: serveBy(plans) });
  using client = await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', first]] });
  await client.settled();
  let asked = 0;
  for (const each of steps) {
    if (each.kind === 'ask') client.send(headers(2 * asked + 1, request(`/${asked++}`), END));
    else if (each.kind === 'all') client.send(windowUpdate(0, each.bytes));
    else if (each.kind === 'stream' && asked > 0)
      client.send(windowUpdate(2 * (each.at % asked) + 1, each.bytes));
    else if (each.kind === 'settings') client.send(settings(['INITIAL_WINDOW_SIZE', each.window]));
    else if (each.kind === 'pause') client.socket.pause();
    else if (each.kind === 'resume') client.socket.resume();
    else if (each.kind === 'turn') await turns(each.count);
  }
  client.socket.resume();
  const isLate = (at: number): boolean => ((late >> (at % 20)) & 1) === 1;
  const all = [...plans.keys()];
  for (const at of all) if (!isLate(at)) client.send(windowUpdate(2 * at + 1, 2 ** 29));
  // After all others: nothing comes later that would wake what should not have slept.
  client.send(windowUpdate(0, 2 ** 29));
  for (const at of all) if (!isLate(at)) await check(client, at, plans[at] as Plan);
  for (const at of all) if (isLate(at)) client.send(windowUpdate(2 * at + 1, 2 ** 29));
  for (const at of all) await check(client, at, plans[at] as Plan);
  client[Symbol.dispose]();
  await served.quiet();
  expect(served.leftovers).toEqual(NOTHING_LEFT);
  await served[Symbol.asyncDispose]();
}

test('RFC 9113 6.9: once there is room for all, all of it comes', { timeout: 600_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(0, 10, 65_535, 1_000_000), fc.nat(2 ** 20 - 1), actions, play),
    { seed: SEED, numRuns: RUNS },
  );
});
