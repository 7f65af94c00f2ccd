import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { type Client, Code, ConnectError, createClient, type Transport } from '@connectrpc/connect';
import * as node from '@connectrpc/connect-node';
import * as web from '@connectrpc/connect-web';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AuditService } from '../../src/gen/mandate/v1/audit_pb.ts';
import { DecisionService } from '../../src/gen/mandate/v1/decision_pb.ts';
import { bearer, secrets } from '../e2e/server.ts';
import { isForgiven } from './node-http2.ts';
import { batch, question, rightAnswer, rightAnswers, said } from './questions.ts';
import { type Served, securities, serve } from './served.ts';

/** connect-web's transports over fetch, and connect-node's over HTTP/2: calls, streams, cancellations. */

type Make = (server: Served, baseUrl: string) => Transport;

/** Every protocol over HTTP/2, with what differs in how the server serves it. */
const over2 = (server: Served, baseUrl: string) => {
  const ca = server.ca === undefined ? {} : { ca: readFileSync(server.ca) };
  return { baseUrl, httpVersion: '2' as const, nodeOptions: ca };
};
const packed = { sendCompression: node.compressionGzip, acceptCompression: [node.compressionGzip] };
const transports: Readonly<Record<string, Make>> = {
  'Connect with JSON': (...to) => node.createConnectTransport({ ...over2(...to), useBinaryFormat: false }),
  'Connect with protobuf': (...to) => node.createConnectTransport(over2(...to)),
  'Connect with gzip': (...to) =>
    node.createConnectTransport({ ...over2(...to), ...packed, compressMinBytes: 1 }),
  'gRPC-Web with JSON': (...to) => node.createGrpcWebTransport({ ...over2(...to), useBinaryFormat: false }),
  'gRPC-Web with protobuf': (...to) => node.createGrpcWebTransport(over2(...to)),
  'gRPC with JSON': (...to) => node.createGrpcTransport({ ...over2(...to), useBinaryFormat: false }),
  'gRPC with protobuf': (...to) => node.createGrpcTransport(over2(...to)),
};

/** fetch, in HTTP/1.1: test/e2e/web.test.ts has the unary calls. */
const browsers: Readonly<Record<string, Make>> = {
  'Connect with JSON': (_, baseUrl) => web.createConnectTransport({ baseUrl }),
  'Connect with protobuf': (_, baseUrl) => web.createConnectTransport({ baseUrl, useBinaryFormat: true }),
  'gRPC-Web with protobuf': (_, baseUrl) => web.createGrpcWebTransport({ baseUrl }),
};

const as = (secret: string) => ({ headers: { authorization: bearer(secret) } });
const range = (length: number): number[] => Array.from({ length }, (_, at) => at);

/** What a call came to: its answer, or its code. */
const ended = (answer: Promise<Parameters<typeof said>[0]>): Promise<string> =>
  answer.then(
    said,
    (error: unknown) => `${ConnectError.from(error).code} ${ConnectError.from(error).rawMessage}`,
  );

/**
 * Node's client, which connect-node is built on, can lose an answer that came whole: while others were cancelled, and where
 * it comes with the end of its stream in one read, as that which waited for the connection's first window does.
 */
const LOST = `${Code.Unknown} Premature close`;

/** What two hundred calls at once come to. What the client lost was decided all the same, and is asked again. */
async function askedAtOnce({ check }: Client<typeof DecisionService>): Promise<string[]> {
  const ask = (n: number): Promise<string> => ended(check(question(n), as(secrets.api)));
  const first = await check(question(0), as(secrets.api));
  const answers = await Promise.all(range(200).map(ask));
  const last = await check(question(0), as(secrets.api));
  expect(Number(last.recordIndex - first.recordIndex)).toBeGreaterThan(200);
  const lost = range(200).filter((n) => answers[n] === LOST);
  expect(lost.length).toBeLessThan(20);
  for (const n of lost) answers[n] = await ask(n);
  return answers;
}

/** Tails the log while it grows, and leaves the stream while it is open. */
async function tails(server: Served, make: Make): Promise<void> {
  const decisions = createClient(DecisionService, make(server, server.url));
  const audit = createClient(AuditService, make(server, server.admin));
  const { recordIndex } = await decisions.check(question(0), as(secrets.api));
  const seen: string[] = [];
  for await (const { record } of audit.tail(
    { tenant: 'acme', fromIndex: recordIndex },
    as(secrets.operator),
  )) {
    // Whoever tails is in the log too.
    if (record?.kind !== 'decision') continue;
    seen.push(record.resourceId);
    if (seen.length > 1 && seen.length < 30) continue;
    if (seen.length === 30) break;
    // One after the other: the log has them in the order of the answers.
    for (const n of range(29)) await decisions.check(question(n + 1), as(secrets.api));
  }
  expect(seen).toEqual(range(30).map((n) => `doc-${n}`));
  expect(await ended(decisions.check(question(3), as(secrets.api)))).toBe(rightAnswer(3));
}

describe.each(securities)('connect-node over HTTP/2 in %s', (security) => {
  let server: Served;
  beforeAll(async () => {
    server = await serve(security);
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  describe.each(Object.entries(transports))('%s', (_name, make) => {
    const client = () => createClient(DecisionService, make(server, server.url));

    test('each of many calls at once gets the answer to its own question', async () => {
      expect(await askedAtOnce(client())).toEqual(rightAnswers(200));
    });

    test('a server stream follows what happens while it is open, and can be left', async () => {
      await tails(server, make);
    });

    test('a stream both ways answers every question under its own id', async () => {
      const answers = new Map<number, string>();
      async function* questions() {
        for (const n of range(100)) yield { correlationId: BigInt(n), request: question(n) };
      }
      for await (const { correlationId, result } of client().checkStream(questions(), as(secrets.api)))
        answers.set(
          Number(correlationId),
          result.case === 'response' ? said(result.value) : `${result.case}`,
        );
      expect(range(100).map((n) => answers.get(n))).toEqual(rightAnswers(100));
    });

    test('an error has its code, a deadline that passes too', async () => {
      const { check, checkBatch } = client();
      const failed = async (call: Promise<unknown>): Promise<[Code, string | null]> => {
        const error = ConnectError.from(
          await call.then(
            () => undefined,
            (cause: unknown) => cause,
          ),
        );
        return [error.code, error.metadata.get('mandate-error-code')];
      };
      const nowhere = { ...question(0), tenant: 'nowhere' };
      expect(await failed(check(question(0), as('wrong')))).toEqual([
        Code.Unauthenticated,
        'unauthenticated',
      ]);
      expect(await failed(check(nowhere, as(secrets.api)))).toEqual([Code.NotFound, 'tenant_unknown']);
      const late = checkBatch(batch(5_000), { ...as(secrets.api), timeoutMs: 1 });
      expect((await failed(late))[0]).toBe(Code.DeadlineExceeded);
    });

    test('half of many calls cancelled leave the other half with the right answers', async () => {
      const { check } = client();
      const cancels: AbortController[] = [];
      const calls = range(300).map((n) => {
        const abort = new AbortController();
        if (n % 2 === 1) cancels.push(abort);
        return ended(check(question(n), { ...as(secrets.api), signal: abort.signal }));
      });
      while (cancels.length > 0) {
        for (const abort of cancels.splice(0, 10)) abort.abort();
        await delay(1);
      }
      const outcomes = await Promise.all(calls);
      const isCancelled = (text: string): boolean => text.startsWith(`${Code.Canceled} `);
      const wrong = outcomes.filter(
        (text, n) =>
          text !== rightAnswer(n) &&
          !(n % 2 === 1 && isCancelled(text)) &&
          text !== LOST &&
          !isForgiven(text),
      );
      expect(wrong).toEqual([]);
      expect(outcomes.filter(isCancelled).length).toBeGreaterThan(0);
    });
  });
});

describe('connect-web over fetch', () => {
  let server: Served;
  beforeAll(async () => {
    server = await serve('cleartext');
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  test.each(Object.entries(browsers))(
    '%s: a server stream follows what happens, and can be left',
    async (_, make) => {
      await tails(server, make);
    },
  );

  test.each(Object.entries(browsers))(
    '%s: each of many calls at once gets its own answer',
    async (_, make) => {
      const client = createClient(DecisionService, make(server, server.url));
      expect(await askedAtOnce(client)).toEqual(rightAnswers(200));
    },
  );
});
