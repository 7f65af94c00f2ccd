import { once } from 'node:events';
import { type ServiceError, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { failure, Grpc, struct } from './grpc.ts';
import { aliceReads, check, connect } from './requests.ts';
import { bearer, type Running, secrets, startServer } from './server.ts';

/** Many decisions over one call: batches and streams, with grpc-js and the proto files. */

let server: Running;
let pep: Grpc;
beforeAll(async () => {
  server = await startServer();
  pep = new Grpc(server.data, secrets.api);
});
afterAll(async () => {
  pep[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
});

interface Result {
  decision: string;
  reasons: { code: string }[];
  decision_id: string;
  record_index: number;
}

interface StreamAnswer {
  correlation_id: number;
  result: 'response' | 'error';
  response?: Result;
  error?: { code: string; message: string };
}

const resource = {
  type: 'document',
  id: 'roadmap',
  properties: struct({ project: 'apollo', sensitivity: 'internal' }),
};
const reads = { tenant: 'acme', action: { name: 'document.read' }, resource };
const by = (id: string, type = 'user') => ({ subject: { type, id } });

const batch = (request: object) =>
  pep.call<{ results: Result[]; policy_revision: string }>('DecisionService', 'CheckBatch', request);
const decisions = (results: readonly Result[]): string[] =>
  results.map(({ decision }) => decision.replace('DECISION_', '').toLowerCase());

describe('DecisionService/CheckBatch', () => {
  test('decides in the order asked; what an item leaves out comes from the batch', async () => {
    const items = [by('alice'), by('nobody'), by('bob'), { ...by('bob'), action: { name: 'document.edit' } }];
    const { results, policy_revision } = await batch({ ...reads, items });
    expect(decisions(results)).toEqual(['allow', 'deny', 'allow', 'deny']);
    expect(policy_revision).toMatch(/^sha256:/);
    const indexes = results.map(({ record_index }) => record_index);
    expect(indexes).toEqual(indexes.map((_, at) => (indexes[0] ?? 0) + at));
  });

  test('AuthZEN 1.0 evaluations_semantic: stops where it is told to', async () => {
    const items = [by('alice'), by('nobody'), by('bob')];
    const until = async (semantic: string) =>
      decisions((await batch({ ...reads, items, semantic: `BATCH_SEMANTIC_${semantic}` })).results);
    expect(await until('EXECUTE_ALL')).toEqual(['allow', 'deny', 'allow']);
    expect(await until('DENY_ON_FIRST_DENY')).toEqual(['allow', 'deny']);
    expect(await until('PERMIT_ON_FIRST_PERMIT')).toEqual(['allow']);
  });

  test('a bad item is never allowed, and does not take the others down', async () => {
    const items = [by('alice'), by('r2', 'robot'), { ...by('alice'), action: { name: '' } }, by('bob')];
    const { results } = await batch({ ...reads, items });
    expect(decisions(results)).toEqual(['allow', 'deny', 'deny', 'allow']);
    expect(results[1]?.reasons).toMatchObject([{ code: 'principal_class_unknown' }]);
    expect(results[2]?.reasons).toMatchObject([{ code: 'invalid_request' }]);
  });

  test('a thousand items are a thousand records, in one answer', async () => {
    const items = Array.from({ length: 1_000 }, () => by('alice'));
    const { results } = await batch({ ...reads, items });
    expect(new Set(results.map(({ record_index }) => record_index)).size).toBe(1_000);
  });

  test('none at all, an unknown tenant and bytes that are no batch are refused', async () => {
    expect((await failure(batch({ ...reads, items: [] }))).code).toBe('invalid_request');
    expect((await failure(batch({ ...reads, tenant: 'nowhere', items: [by('alice')] }))).code).toBe(
      'tenant_unknown',
    );
    expect(await failure(pep.raw('DecisionService', 'CheckBatch', Uint8Array.from([0x42, 0x7f])))).toEqual({
      status: status.INVALID_ARGUMENT,
      code: 'invalid_request',
    });
  });

  test('answers the same over Connect with JSON', async () => {
    const { body } = await connect<{ results: { decision: string }[] }>(
      server.data,
      'DecisionService/CheckBatch',
      { ...aliceReads, items: [{}, by('nobody')] },
      bearer(secrets.api),
    );
    expect(body.results.map(({ decision }) => decision)).toEqual(['DECISION_ALLOW', 'DECISION_DENY']);
  });
});

describe('DecisionService/CheckStream', () => {
  test('answers each request under its correlation id; a bad one is an error and the stream goes on', async () => {
    const stream = pep.duplex('DecisionService', 'CheckStream');
    const requests: Record<number, object | undefined> = {
      1: { ...reads, ...by('alice') },
      2: { ...reads, ...by('alice'), tenant: 'nowhere' },
      3: { ...reads, ...by('r2', 'robot') },
      4: undefined,
      5: { ...reads, ...by('nobody') },
    };
    for (const [id, request] of Object.entries(requests))
      stream.write({ correlation_id: Number(id), request });
    stream.end();
    const answers = new Map<number, StreamAnswer>();
    for await (const answer of stream as AsyncIterable<StreamAnswer>)
      answers.set(answer.correlation_id, answer);
    const said = (id: number) => answers.get(id)?.response?.decision ?? answers.get(id)?.error?.code;
    expect([1, 2, 3, 4, 5].map(said)).toEqual([
      'DECISION_ALLOW',
      'tenant_unknown',
      'principal_class_unknown',
      'invalid_request',
      'DECISION_DENY',
    ]);
  });

  test('thousands of requests on one stream are each recorded once', async () => {
    const stream = pep.duplex('DecisionService', 'CheckStream');
    for (let id = 1; id <= 3_000; id += 1)
      stream.write({ correlation_id: id, request: { ...reads, ...by('alice') } });
    stream.end();
    const ids = new Set<number>();
    const indexes = new Set<number>();
    for await (const { correlation_id, response } of stream as AsyncIterable<StreamAnswer>) {
      ids.add(correlation_id);
      indexes.add(response?.record_index ?? -1);
    }
    expect(ids.size).toBe(3_000);
    expect(indexes.size).toBe(3_000);
  });

  test('bytes that are no request end the stream with INVALID_ARGUMENT, and the process goes on', async () => {
    const stream = pep.duplex('DecisionService', 'CheckStream');
    stream.resume();
    stream.write(Buffer.from([0x12, 0x7f, 0x00]));
    const [error] = (await once(stream, 'error')) as [ServiceError];
    expect(error.code).toBe(status.INVALID_ARGUMENT);
    expect((await check(server.data, aliceReads)).body.decision).toBe('DECISION_ALLOW');
  });

  test('a caller that goes away in the middle leaves the server well', async () => {
    for (let round = 0; round < 5; round += 1) {
      const stream = pep.duplex('DecisionService', 'CheckStream');
      stream.on('error', () => undefined);
      for (let id = 1; id <= 200; id += 1)
        stream.write({ correlation_id: id, request: { ...reads, ...by('alice') } });
      await once(stream, 'data');
      stream.cancel();
    }
    expect((await check(server.data, aliceReads)).body.decision).toBe('DECISION_ALLOW');
  });

  test('a caller with a wrong credential gets an error, never a decision', async () => {
    const asked = async (secret: string): Promise<StreamAnswer[]> => {
      using stranger = new Grpc(server.data, secret);
      const stream = stranger.duplex('DecisionService', 'CheckStream');
      stream.write({ correlation_id: 1, request: { ...reads, ...by('alice') } });
      stream.end();
      const answers: StreamAnswer[] = [];
      for await (const answer of stream as AsyncIterable<StreamAnswer>) answers.push(answer);
      return answers;
    };
    // Another tenant's is known, and wrong in each message; what nobody knows ends the stream.
    expect(await asked(secrets.globexMcp)).toMatchObject([
      { correlation_id: 1, error: { code: 'unauthenticated' } },
    ]);
    await expect(asked('wrong')).rejects.toMatchObject({ code: status.UNAUTHENTICATED });
  });
});
