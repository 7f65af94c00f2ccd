import { context, propagation, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { ServiceError } from '../../src/errors.ts';
import { otelTracing, type Tracing } from '../../src/server/tracing.ts';

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
