import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bearer, secrets } from '../e2e/server.ts';
import { relayTo } from './frames.ts';
import { isForgiven } from './node-http2.ts';
import { type Call, type Client, code, type Outcome, type Plan } from './plan.ts';
import {
  batchBytes,
  CHECK,
  CHECK_BATCH,
  CHECK_STREAM,
  questionBytes,
  rightAnswer,
  rightAnswers,
  saidIn,
  saidInBatch,
  saidInStream,
  streamed,
} from './questions.ts';
import { type Served, securities, serve } from './served.ts';

/** What every gRPC client of tools/clients is made to do. */

export interface Sizes {
  /** Calls at once. */
  readonly calls: number;
  /** Questions on one stream. */
  readonly streamed: number;
  /** The client's shortest pause before it asks whether a connection stands. */
  readonly keepaliveMs: number;
}

const known = { authorization: bearer(secrets.api) };
const check = (n: number, options: Partial<Call> = {}): Call => ({
  method: CHECK,
  messages: [questionBytes(n)],
  metadata: known,
  ...options,
});
const batch = (count: number, options: Partial<Call> & { padding?: string } = {}): Call => {
  const { padding, ...rest } = options;
  return { method: CHECK_BATCH, messages: [batchBytes(count, 0, padding)], metadata: known, ...rest };
};
const stream = (count: number, options: Partial<Call> = {}): Call => ({
  method: CHECK_STREAM,
  messages: Array.from({ length: count }, (_, n) => streamed(n)),
  stream: true,
  metadata: known,
  ...options,
});

/** What each unary call came to: its answer, or its code. */
const ended = ({ code: status, message, messages }: Outcome): string =>
  status === code.ok ? saidIn(messages[0]) : `${status} ${message}`;

const isCancelled = (text: string): boolean => text.startsWith(`${code.cancelled} `);

const range = (length: number): number[] => Array.from({ length }, (_, n) => n);

/** `prepare` builds the client. */
export function everyCall(prepare: () => Promise<Client>, sizes: Sizes): void {
  let client: Client;
  beforeAll(async () => {
    client = await prepare();
  }, 600_000);

  describe.each(securities)('over %s', (security) => {
    let server: Served;
    beforeAll(async () => {
      server = await serve(security);
    });
    afterAll(() => server?.[Symbol.asyncDispose]());

    const make = (calls: readonly Call[], options: Partial<Plan> = {}): Promise<readonly Outcome[]> =>
      client({ address: server.address, ca: server.ca, calls, ...options });
    const stillServes = async (): Promise<void> => {
      expect((await make([check(7)])).map(ended)).toEqual([rightAnswer(7)]);
    };

    test('each of many calls at once, over three connections, gets the answer to its own question', async () => {
      const outcomes = await make(
        range(sizes.calls).map((n) => check(n)),
        { connections: 3 },
      );
      expect(outcomes.map(ended)).toEqual(rightAnswers(sizes.calls));
    });

    test('the same with messages packed by gzip', async () => {
      const count = Math.min(200, sizes.calls);
      const outcomes = await make(range(count).map((n) => check(n, { gzip: true })));
      expect(outcomes.map(ended)).toEqual(rightAnswers(count));
    });

    test('a stream both ways answers every question under its own id', async () => {
      const [outcome] = await make([stream(sizes.streamed)]);
      expect(outcome?.code).toBe(code.ok);
      const answers = saidInStream(outcome?.messages ?? []);
      expect(range(sizes.streamed).map((n) => answers.get(n))).toEqual(rightAnswers(sizes.streamed));
    });

    test('a batch that is megabytes both ways is answered in its order', async () => {
      const [outcome] = await make([batch(8_000, { padding: 'x'.repeat(380) })]);
      expect(outcome).toMatchObject({ code: code.ok });
      expect(saidInBatch(outcome?.messages[0] ?? new Uint8Array())).toEqual(rightAnswers(8_000));
    });

    test('a message that is too large is refused by its code, and the calls beside it are answered', async () => {
      const beside = range(20).map((n) => check(n));
      const [refused, ...others] = await make([batch(8_000, { padding: 'x'.repeat(1_000) }), ...beside]);
      expect(refused).toMatchObject({ code: code.resourceExhausted, errorCode: 'payload_too_large' });
      expect(others.map(ended)).toEqual(rightAnswers(20));
    });

    test('a deadline that passes is DEADLINE_EXCEEDED, and the calls beside it are answered', async () => {
      const late = [
        check(0, { timeoutNs: 1 }),
        batch(8_000, { timeoutNs: 1_000_000 }),
        stream(2_000, { timeoutNs: 1_000_000 }),
      ];
      const far = check(1, { timeoutNs: 3_600_000_000_000 });
      const beside = range(20).map((n) => check(n));
      const outcomes = await make([...late, far, ...beside]);
      expect(outcomes.slice(0, late.length).map((each) => each.code)).toEqual(
        late.map(() => code.deadlineExceeded),
      );
      expect(outcomes.slice(late.length).map(ended)).toEqual([rightAnswer(1), ...rightAnswers(20)]);
    });

    test('half of many calls given up leave the other half with the right answers', async () => {
      // Over the time that all of them take, however long that is here.
      const cancelled = (n: number): boolean => n % 2 === 1;
      const calls = range(sizes.calls).map((n) => check(n, cancelled(n) ? { cancelAfter: n * 100 } : {}));
      const outcomes = (await make(calls, { connections: 2 })).map(ended);
      const wrong = outcomes.filter((text, n) => {
        const right = text === rightAnswer(n) || (cancelled(n) && isCancelled(text));
        return !right && !isForgiven(text);
      });
      expect(wrong).toEqual([]);
      expect(outcomes.filter(isCancelled).length).toBeGreaterThan(0);
      await stillServes();
    });

    test('streams and batches given up in the middle leave the connection well', async () => {
      const givenUp = range(10).flatMap((n) => [
        stream(300, { cancelAfter: n * 1_000 }),
        batch(500, { cancelAfter: n * 1_000 }),
      ]);
      const beside = range(100).map((n) => check(n));
      const outcomes = await make([...givenUp, ...beside]);
      const ends = outcomes
        .slice(0, givenUp.length)
        .map(({ code: status, message }) => `${status} ${message}`);
      expect(ends.filter((text) => text !== '0 ' && !isCancelled(text) && !isForgiven(text))).toEqual([]);
      const answers = outcomes.slice(givenUp.length).map(ended);
      expect(answers.filter((text, n) => text !== rightAnswer(n) && !isForgiven(text))).toEqual([]);
      await stillServes();
    });

    test('a wrong credential has its status, and its code in the trailers', async () => {
      const as = (secret: string): Partial<Call> => ({ metadata: { authorization: bearer(secret) } });
      const outcomes = await make([
        check(0, as('wrong')),
        check(0, as(secrets.agent)),
        batch(2_000, as('wrong')),
        stream(50, as('wrong')),
        check(0),
      ]);
      expect(outcomes.map((each) => [each.code, each.errorCode])).toEqual([
        [code.unauthenticated, 'unauthenticated'],
        [code.permissionDenied, 'permission_denied'],
        [code.unauthenticated, 'unauthenticated'],
        [code.unauthenticated, 'unauthenticated'],
        [code.ok, ''],
      ]);
    });
  });

  test('keepalive pings are answered, so a stream that rests stays open', async () => {
    await using server = await serve('cleartext');
    await using relay = await relayTo(server.port);
    const restMs = sizes.keepaliveMs + 3_000;
    const [outcome] = await client({
      address: relay.address,
      keepaliveMs: sizes.keepaliveMs,
      calls: [stream(2, { restMs })],
    });
    expect(outcome).toMatchObject({ code: code.ok });
    expect([...saidInStream(outcome?.messages ?? []).values()]).toEqual(rightAnswers(2));
    expect(relay.connections()).toBe(1);
    const pings = relay.count('client', 'PING');
    expect(pings).toBeGreaterThan(0);
    expect(relay.count('server', 'PING')).toBeGreaterThanOrEqual(pings - 1);
  });
}
