import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import {
  Client,
  type ClientDuplexStream,
  type ClientOptions,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bearer, secrets } from '../e2e/server.ts';
import { relayTo } from './frames.ts';
import { isForgiven } from './node-http2.ts';
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

/** grpc-js with more on one channel than test/e2e asks of it: load, cancellations, pings, what is large. */

const asIs = (bytes: Uint8Array): Buffer => Buffer.from(bytes);

class Channel implements Disposable {
  readonly #client: Client;

  constructor(address: string, ca?: string, options: ClientOptions = {}) {
    const security =
      ca === undefined ? credentials.createInsecure() : credentials.createSsl(readFileSync(ca));
    this.#client = new Client(address, security, options);
  }

  /** The answer's bytes. `begun` is given what cancels it. */
  call(
    method: string,
    message: Uint8Array,
    metadata = known(),
    begun = (_cancel: () => void): void => {},
  ): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const call = this.#client.makeUnaryRequest(method, asIs, asIs, message, metadata, (error, answer) =>
        error ? reject(error) : resolve(answer ?? Buffer.alloc(0)),
      );
      begun(() => call.cancel());
    });
  }

  stream(): ClientDuplexStream<Uint8Array, Buffer> {
    return this.#client.makeBidiStreamRequest(CHECK_STREAM, asIs, asIs, known());
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

function known(more: Readonly<Record<string, string>> = {}): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries({ authorization: bearer(secrets.api), ...more }))
    metadata.set(name, value);
  return metadata;
}

/** What a call came to: its answer, or its status. */
const ended = (answer: Promise<Uint8Array>): Promise<string> =>
  answer.then(saidIn, (error: ServiceError) => `${error.code} ${error.details}`);

async function takeAll(stream: ClientDuplexStream<Uint8Array, Buffer>): Promise<Map<number, string>> {
  const messages: Uint8Array[] = [];
  for await (const message of stream as AsyncIterable<Uint8Array>) messages.push(message);
  return saidInStream(messages);
}

const range = (length: number, first = 0): number[] => Array.from({ length }, (_, at) => first + at);

describe.each(securities)('grpc-js over %s', (security) => {
  let server: Served;
  let channel: Channel;
  beforeAll(async () => {
    server = await serve(security);
    channel = new Channel(server.address, server.ca);
  });
  afterAll(async () => {
    channel?.[Symbol.dispose]();
    await server?.[Symbol.asyncDispose]();
  });
  const ask = (n: number, metadata?: Metadata): Promise<string> =>
    ended(channel.call(CHECK, questionBytes(n), metadata));

  test('thousands of calls at once on one channel each get the answer to their own question', async () => {
    expect(await Promise.all(range(3_000).map((n) => ask(n)))).toEqual(rightAnswers(3_000));
  });

  test('many streams on one channel each get their own answers, while unary calls go on beside them', async () => {
    const streams = range(60).map((at) => {
      const stream = channel.stream();
      // Written in turns, so that they run beside each other.
      return { stream, first: at * 100, answers: takeAll(stream) };
    });
    for (const n of range(100)) for (const { stream, first } of streams) stream.write(streamed(first + n));
    const unary = Promise.all(range(200).map((n) => ask(n)));
    for (const { stream } of streams) stream.end();
    expect(await unary).toEqual(rightAnswers(200));
    for (const { first, answers } of streams) {
      const said = await answers;
      expect(range(100, first).map((n) => said.get(n))).toEqual(rightAnswers(100, first));
    }
  });

  test('a stream whose answers nobody takes does not hold up the others', async () => {
    const untaken = channel.stream();
    untaken.on('error', () => undefined);
    for (const n of range(2_000)) untaken.write(streamed(n));
    expect(await Promise.all(range(300).map((n) => ask(n)))).toEqual(rightAnswers(300));
    untaken.end();
    const answers = await takeAll(untaken);
    expect(range(2_000).map((n) => answers.get(n))).toEqual(rightAnswers(2_000));
  });

  test('messages of megabytes both ways, many at once', async () => {
    const batches = range(3).map((at) => ({
      first: at * 4_000,
      answer: channel.call(CHECK_BATCH, batchBytes(4_000, at * 4_000, 'x'.repeat(600))),
    }));
    for (const { first, answer } of batches)
      expect(saidInBatch(await answer)).toEqual(rightAnswers(4_000, first));
  });

  test('half of many calls cancelled leave the other half with the right answers', async () => {
    const cancels: (() => void)[] = [];
    const calls = range(2_000).map((n) => {
      const begun = n % 2 === 1 ? (cancel: () => void) => void cancels.push(cancel) : undefined;
      return ended(channel.call(CHECK, questionBytes(n), known(), begun));
    });
    // A few at a time, between what comes and goes.
    while (cancels.length > 0) {
      for (const cancel of cancels.splice(0, 20)) cancel();
      await delay(1);
    }
    const outcomes = await Promise.all(calls);
    const isCancelled = (text: string): boolean => text.startsWith(`${status.CANCELLED} `);
    const wrong = outcomes.filter(
      (text, n) => text !== rightAnswer(n) && !(n % 2 === 1 && isCancelled(text)) && !isForgiven(text),
    );
    expect(wrong).toEqual([]);
    expect(outcomes.filter(isCancelled).length).toBeGreaterThan(0);
    expect(await ask(5)).toBe(rightAnswer(5));
  });

  test('metadata of up to 32 KiB is taken, beyond twice that the call alone fails', async () => {
    const large = (length: number): Metadata => known({ 'x-large': 'y'.repeat(length) });
    const beside = Promise.all(range(100).map((n) => ask(n)));
    for (const length of [16_000, 24_000, 31_000]) expect(await ask(7, large(length))).toBe(rightAnswer(7));
    expect(await ask(7, large(100_000))).toMatch(/^\d+ /);
    expect(await beside).toEqual(rightAnswers(100));
    expect(await ask(8)).toBe(rightAnswer(8));
  });

  test('a hundred fields of metadata are taken', async () => {
    const fields = Object.fromEntries(range(100).map((n) => [`x-field-${n}`, `value ${n}`]));
    expect(await ask(9, known(fields))).toBe(rightAnswer(9));
  });
});

test('grpc-js: keepalive pings are answered, so a channel at rest stays connected', async () => {
  await using server = await serve('cleartext');
  await using relay = await relayTo(server.port);
  const keepalive = {
    'grpc.keepalive_time_ms': 100,
    'grpc.keepalive_timeout_ms': 2_000,
    'grpc.keepalive_permit_without_calls': 1,
  };
  using channel = new Channel(relay.address, undefined, keepalive);
  const stream = channel.stream();
  stream.write(streamed(1));
  await once(stream, 'data');
  for (let round = 0; round < 400 && relay.count('client', 'PING') < 5; round += 1) await delay(25);
  const pings = relay.count('client', 'PING');
  expect(pings).toBeGreaterThanOrEqual(5);
  stream.write(streamed(2));
  stream.end();
  expect([...(await takeAll(stream)).values()]).toEqual([rightAnswer(2)]);
  expect(relay.count('server', 'PING')).toBeGreaterThanOrEqual(pings - 1);
  expect(relay.connections()).toBe(1);
});
