import { once } from 'node:events';
import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import type { ClientDuplexStream, ServiceError } from '@grpc/grpc-js';
import { describe, expect, test } from 'vitest';
import { DecisionService } from '../../src/gen/mandate/v1/decision_pb.ts';
import { Grpc } from './grpc.ts';
import { aliceReads, request } from './requests.ts';
import { bearer, eventually, type Running, secrets, startServer } from './server.ts';

/** A server that stops while it is asked, without a pause, over connections that are kept. */

const BODY = JSON.stringify(aliceReads);
const DRAIN = { overrides: { drain_seconds: 20 } };

interface Conversation {
  answers: number;
  lost: number;
  /** Whether the last answer said that the connection ends. */
  told: boolean;
}

/** Asks over one connection until it ends, a moment after each answer. */
async function converse(server: Running, pauseMs: number, begun: () => void): Promise<Conversation> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const seen: Conversation = { answers: 0, lost: 0, told: false };
  const ask = (): Promise<http.IncomingMessage> =>
    new Promise((resolve, reject) => {
      const asked = http.request(`${server.data}/mandate.v1.DecisionService/Check`, {
        agent,
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: bearer(secrets.api) },
      });
      asked.on('response', (response) => void response.resume().on('end', () => resolve(response)));
      asked.on('error', reject);
      asked.end(BODY);
    });
  while (!seen.told) {
    try {
      const { statusCode, headers } = await ask();
      expect(statusCode).toBe(200);
      seen.answers += 1;
      begun();
      seen.told = headers.connection === 'close';
    } catch (error) {
      // A connection that was never taken carried nothing.
      if ((error as NodeJS.ErrnoException).code !== 'ECONNREFUSED') seen.lost += 1;
      break;
    }
    await sleep(pauseMs);
  }
  agent.destroy();
  return seen;
}

describe('over HTTP/1.1', () => {
  test('every connection that asks is told by its last answer, and no request is lost', async () => {
    await using server = await startServer(DRAIN);
    const waiting: Promise<void>[] = [];
    const under = Array.from({ length: 60 }, (_, at) => {
      const begun = Promise.withResolvers<void>();
      waiting.push(begun.promise);
      return converse(server, at % 12, begun.resolve);
    });
    await Promise.all(waiting);
    await server.stop();
    const seen = await Promise.all(under);
    expect(seen.map(({ lost }) => lost)).toEqual(seen.map(() => 0));
    expect(seen.every(({ answers }) => answers > 0)).toBe(true);
    expect(seen.every(({ told }) => told)).toBe(true);
  });

  test('is not ready from then on, and says so by an answer of its own', async () => {
    await using server = await startServer(DRAIN);
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const ready = (): Promise<http.IncomingMessage> =>
      new Promise((resolve, reject) => {
        const asked = http.get(`${server.data}/readyz`, { agent }, (response) => {
          response.resume().on('end', () => resolve(response));
        });
        asked.on('error', reject);
      });
    expect((await ready()).statusCode).toBe(200);
    const stopped = server.stop();
    const answer = await ready();
    expect([answer.statusCode, answer.headers.connection]).toEqual([503, 'close']);
    await stopped;
    agent.destroy();
  });
});

test('over HTTP/2 a call that is made while the connection ends is answered or never taken', async () => {
  await using server = await startServer(DRAIN);
  using pep = new Grpc(server.data, secrets.api);
  const { resource, ...rest } = aliceReads;
  const asked = { ...rest, resource: { type: resource.type, id: resource.id } };
  const lost: string[] = [];
  let answers = 0;
  const state = { stopped: false };
  const ask = async (): Promise<void> => {
    while (!state.stopped)
      try {
        await pep.call('DecisionService', 'Check', asked);
        answers += 1;
      } catch (error) {
        // grpc-js asks again by itself what was never taken, and then finds nobody.
        const { details } = error as ServiceError;
        if (!/ECONNREFUSED|No connection established/.test(details)) lost.push(details);
        return;
      }
  };
  const under = Array.from({ length: 20 }, ask);
  await eventually(
    async () => answers,
    (count) => count > 20,
  );
  await server.stop();
  state.stopped = true;
  await Promise.all(under);
  expect(answers).toBeGreaterThan(20);
  expect(lost).toEqual([]);
});

interface StreamAnswer {
  correlation_id: number;
  response?: { decision: string };
  error?: { code: string };
}

const question = (id: number) => {
  const { resource, ...rest } = aliceReads;
  return { correlation_id: id, request: { ...rest, resource: { type: resource.type, id: resource.id } } };
};

type Stream = ClientDuplexStream<object, object>;

/** How a stream ends: its status, and what was said of each question. */
async function ending(stream: Stream, onAnswer?: (answer: StreamAnswer) => void) {
  const said = new Map<number, string>();
  stream.on('data', (answer: StreamAnswer) => {
    said.set(answer.correlation_id, answer.error?.code ?? answer.response?.decision ?? '');
    onAnswer?.(answer);
  });
  stream.on('error', () => undefined);
  const { code } = await new Promise<{ code: number }>((resolve) => stream.once('status', resolve));
  return { code, said };
}

describe('a CheckStream', () => {
  test('that is still ends with UNAVAILABLE, all it asked answered', async () => {
    await using server = await startServer(DRAIN);
    using pep = new Grpc(server.data, secrets.api);
    const stream = pep.duplex('DecisionService', 'CheckStream');
    const ended = ending(stream);
    for (let id = 1; id <= 500; id += 1) stream.write(question(id));
    await once(stream, 'data');
    await server.stop();
    const { code, said } = await ended;
    expect(code).toBe(14);
    expect([...said.keys()].sort((a, b) => a - b)).toEqual(Array.from({ length: 500 }, (_, at) => at + 1));
    // Late ones on a busy machine are named.
    for (const answer of said.values()) expect(['DECISION_DENY', 'unavailable']).toContain(answer);
  });

  test('whose client ends it when it is told ends with OK, each question answered or named', async () => {
    await using server = await startServer(DRAIN);
    using pep = new Grpc(server.data, secrets.api);
    const stream = pep.duplex('DecisionService', 'CheckStream');
    const state = { told: false };
    const ended = ending(stream, ({ error }) => {
      if (error?.code === 'unavailable' && !state.told) stream.end();
      state.told ||= error?.code === 'unavailable';
    });
    let asked = 0;
    void ended.then(() => (state.told = true));
    const asking = (async () => {
      while (!state.told) {
        for (let each = 0; each < 5; each += 1) stream.write(question((asked += 1)));
        await sleep(5);
      }
    })();
    await once(stream, 'data');
    await server.stop();
    await asking;
    const { code, said } = await ended;
    // A client that a busy machine tells too late is ended.
    expect([0, 14]).toContain(code);
    expect(said.size).toBe(code === 0 ? asked : Math.max(...said.keys()));
    for (const answer of said.values()) expect(['DECISION_DENY', 'unavailable']).toContain(answer);
  });

  test('whose client goes on all the same ends with UNAVAILABLE', async () => {
    await using server = await startServer(DRAIN);
    using pep = new Grpc(server.data, secrets.api);
    const stream = pep.duplex('DecisionService', 'CheckStream');
    const ended = ending(stream);
    const state = { over: false };
    void ended.then(() => (state.over = true));
    let asked = 0;
    const asking = (async () => {
      while (!state.over) {
        stream.write(question((asked += 1)));
        await sleep(2);
      }
    })();
    await once(stream, 'data');
    await server.stop();
    const { code, said } = await ended;
    await asking;
    expect(code).toBe(14);
    // All that was read has an answer: what has none came after.
    const ids = [...said.keys()].sort((a, b) => a - b);
    expect(ids).toEqual(ids.map((_, at) => at + 1));
    expect([...said.values()]).toContain('unavailable');
  });

  test('over Connect is told and ended the same way', async () => {
    await using server = await startServer(DRAIN);
    const transport = createConnectTransport({ baseUrl: server.data, httpVersion: '2' });
    const client = createClient(DecisionService, transport);
    const state = { told: false };
    let asked = 0;
    async function* questions() {
      for (; !state.told; await sleep(5)) {
        asked += 1;
        yield {
          correlationId: BigInt(asked),
          request: {
            ...aliceReads,
            subject: undefined,
            principal: { case: 'subject' as const, value: { type: 'user', id: 'alice' } },
          },
        };
      }
    }
    const said = new Map<bigint, string>();
    let stopping: Promise<void> | undefined;
    const headers = { authorization: bearer(secrets.api) };
    for await (const { correlationId, result } of client.checkStream(questions(), { headers })) {
      state.told ||= result.case === 'error';
      stopping ??= server.stop();
      said.set(correlationId, result.case === 'error' ? result.value.code : 'answered');
    }
    await stopping;
    expect(said.size).toBe(asked);
    expect(new Set(said.values())).toEqual(new Set(['answered', 'unavailable']));
  });
});

test('reflection and whoever merely keeps a stream open do not hold the stop', async () => {
  // So long a drain would be noticed.
  await using server = await startServer({ overrides: { drain_seconds: 300 } });
  using client = new Grpc(server.data);
  const reflecting = client.duplex('grpc.reflection.v1.ServerReflection', 'ServerReflectionInfo');
  reflecting.on('error', () => undefined);
  reflecting.resume();
  reflecting.write({ list_services: '' });
  await once(reflecting, 'data');
  expect((await request(`${server.data}/livez`)).status).toBe(200);
  await server.stop();
});
