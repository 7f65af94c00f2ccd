import fc from 'fast-check';
import { expect, test } from 'vitest';
import { eventually, NOTHING_LEFT, serving, turns } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { catchEscaped } from '../watched.ts';
import { greeting, settingsAck } from '../wire.ts';
import { handlers } from './handlers.ts';
import { Script, steps } from './steps.ts';

/**
 * Whatever clients send, however it is cut, whenever they go and whatever handlers do: nothing escapes, every stream is
 * closed once and hears nothing after that, and with the last connection nothing is held and no stream is open.
 */

/** More of them where `HTTP2_FUZZ_RUNS` says so, other ones with `HTTP2_FUZZ_SEED`. */
const RUNS = Number(process.env['HTTP2_FUZZ_RUNS'] ?? 400);
const SEED = Number(process.env['HTTP2_FUZZ_SEED'] ?? 9_113);

const cut = fc.array(fc.integer({ min: 1, max: 3_000 }), { minLength: 1, maxLength: 12 });
const one = fc.record({
  greets: fc.constantFrom(true, true, true, true, true, true, false),
  window: fc.constantFrom(0, 10, 65_535, 2 ** 31 - 1),
  steps: fc.array(steps, { maxLength: 4 }).map((all) => all.flat()),
  garbage: fc.oneof(
    { weight: 3, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 80 }) },
  ),
  cut,
  isDeaf: fc.boolean(),
  end: fc.constantFrom('end', 'destroy', 'reset', 'server'),
});

const scenario = fc.record({
  clients: fc.array(one, { minLength: 1, maxLength: 4 }),
  first: fc.nat(handlers.length),
  stride: fc.integer({ min: 0, max: 5 }),
  streams: fc.constantFrom(1, 3, 100),
  streamWindow: fc.constantFrom(0, 7, 65_535),
  budgetBytes: fc.constantFrom(0, 50_000, 400_000, 2 ** 30),
  headerListBytes: fc.constantFrom(150, 32 * 1024),
});

type Client = typeof one extends fc.Arbitrary<infer T> ? T : never;

async function play(port: number, client: Client, stop: () => void): Promise<void> {
  using raw = await RawClient.connect(port, { settings: false, takes: 5_000 });
  const script = new Script();
  const said = client.steps.map(({ bytes }) => bytes(script));
  const all = Buffer.concat([
    ...(client.greets ? [greeting(['INITIAL_WINDOW_SIZE', client.window]), settingsAck()] : []),
    ...said,
    ...(client.garbage ? [client.garbage] : []),
  ]);
  if (client.isDeaf) raw.socket.pause();
  for (let at = 0, turn = 0; at < all.length; turn += 1) {
    const length = client.cut[turn % client.cut.length] as number;
    raw.send(all.subarray(at, at + length));
    at += length;
    await turns(1);
  }
  await turns(2);
  if (client.end === 'end') raw.socket.end();
  else if (client.end === 'reset') raw.socket.resetAndDestroy();
  else if (client.end === 'server') stop();
}

test('RFC 9113: any clients and any handlers leave nothing behind', { timeout: 600_000 }, async () => {
  using escaped = catchEscaped();
  await fc.assert(
    fc.asyncProperty(
      scenario,
      async ({ clients, first, stride, streams, streamWindow, budgetBytes, headerListBytes }) => {
        let count = first;
        const served = await serving({
          serve(stream, connection) {
            count += stride;
            handlers[count % handlers.length]?.(stream, connection);
          },
          limits: { streams, streamWindow, connectionWindow: 65_535 },
          budgetBytes,
          bounds: { headerListBytes },
        });
        const stop = (): void => served.server[Symbol.dispose]();
        await Promise.all(clients.map((client) => play(served.port, client, stop)));
        stop();
        await served.quiet();
        await eventually(() => served.open === 0, 'all handlers to come to their end');
        // What they throw on purpose is told of.
        const unmeant = served.failures.splice(0).filter((error) => String(error) !== 'Error: on purpose');
        expect(unmeant).toEqual([]);
        expect(served.leftovers).toEqual(NOTHING_LEFT);
        await served[Symbol.asyncDispose]();
        expect(escaped.errors).toEqual([]);
      },
    ),
    { seed: SEED, numRuns: RUNS },
  );
});
