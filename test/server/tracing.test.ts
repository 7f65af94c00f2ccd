import { once } from 'node:events';
import http2 from 'node:http2';
import { create, toBinary } from '@bufbuild/protobuf';
import { context, propagation, SpanStatusCode, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ServiceError } from '../../src/errors.ts';
import { CheckStreamRequestSchema } from '../../src/gen/mandate/v1/decision_pb.ts';
import { otelTracing, type Tracing } from '../../src/server/tracing.ts';
import { aliceReads, postJson } from '../e2e/requests.ts';
import { type Running, startServer } from '../e2e/server.ts';

const exporter = new InMemorySpanExporter();
let tracing: Tracing;

beforeAll(() => {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  trace.setGlobalTracerProvider(
    new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }),
  );
  tracing = otelTracing();
});

beforeEach(() => exporter.reset());

afterAll(() => {
  trace.disable();
  propagation.disable();
  context.disable();
});

test('W3C Trace Context: a request continues the trace of its caller', async () => {
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  expect(await tracing('mandate.v1.DecisionService/Check', { traceparent }, async () => 42)).toBe(42);
  const [span] = exporter.getFinishedSpans();
  expect(span?.spanContext().traceId).toBe('0af7651916cd43dd8448eb211c80319c');
  expect(span?.parentSpanContext?.spanId).toBe('b7ad6b7169203331');
  expect(span?.name).toBe('mandate.v1.DecisionService/Check');
});

test('a failed request is a span with its stable code', async () => {
  const failing = tracing('Check', {}, () =>
    Promise.reject(new ServiceError('tenant_unknown', 'no such tenant')),
  );
  await expect(failing).rejects.toThrow('no such tenant');
  expect(exporter.getFinishedSpans()[0]?.attributes).toEqual({ 'mandate.error_code': 'tenant_unknown' });
});

describe('a server that traces', () => {
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  let server: Running;
  beforeAll(async () => {
    server = await startServer({ overrides: { tracing: true } });
  });
  afterAll(() => server[Symbol.asyncDispose]());

  const spans = () =>
    exporter
      .getFinishedSpans()
      .map(({ name, attributes, status }) => [name, attributes['mandate.error_code'], status.code]);

  test('names a plain request by its route, and a failed one by its stable code', async () => {
    const { tenant: _, ...evaluation } = aliceReads;
    await postJson(`${server.data}/t/acme/access/v1/evaluation`, evaluation);
    await postJson(`${server.data}/t/secret-name/access/v1/evaluation`, evaluation);
    await postJson(`${server.data}/t/acme/v1/data/secret/path`, '{');
    expect(spans()).toEqual([
      ['POST /t/{tenant}/access/v1/evaluation', undefined, SpanStatusCode.UNSET],
      ['POST /t/{tenant}/access/v1/evaluation', 'tenant_unknown', SpanStatusCode.ERROR],
      ['POST /t/{tenant}/v1/data/{path...}', 'invalid_request', SpanStatusCode.ERROR],
    ]);
  });

  test("makes a span of each message of a CheckStream, in its caller's trace", async () => {
    const session = http2.connect(server.data);
    const stream = session.request({
      ':method': 'POST',
      ':path': '/mandate.v1.DecisionService/CheckStream',
      'content-type': 'application/grpc',
      te: 'trailers',
      traceparent,
    });
    const { tenant: _t, ...asked } = aliceReads;
    const message = create(CheckStreamRequestSchema, {
      correlationId: 1n,
      request: { tenant: 'acme', ...subjectIn(asked) },
    });
    const frame = lengthPrefixed(toBinary(CheckStreamRequestSchema, message));
    stream.end(Buffer.concat([frame, frame]));
    stream.resume();
    await once(stream, 'end');
    session.close();
    const seen = exporter.getFinishedSpans();
    expect(seen.map(({ name }) => name)).toEqual(Array(2).fill('mandate.v1.DecisionService/CheckStream'));
    expect(seen.map((span) => span.spanContext().traceId)).toEqual(
      Array(2).fill('0af7651916cd43dd8448eb211c80319c'),
    );
  });
});

const subjectIn = ({ subject, action, resource }: Omit<typeof aliceReads, 'tenant'>) => ({
  principal: { case: 'subject' as const, value: subject },
  action,
  resource,
});

function lengthPrefixed(bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}
