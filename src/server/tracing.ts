import { context, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { ServiceError } from '../errors.ts';

/** Runs a request as a span of the trace its caller began, if tracing is on. */
export type Tracing = <T>(
  name: string,
  headers: Readonly<Record<string, unknown>>,
  run: () => Promise<T>,
) => Promise<T>;

/** Off: the request and nothing else. */
export const noTracing: Tracing = (_name, _headers, run) => run();

/**
 * Spans through OpenTelemetry's API; whichever SDK the process has registered samples and exports them. The caller's
 * `traceparent` is continued by that SDK's propagator (W3C Trace Context).
 */
export function otelTracing(): Tracing {
  const tracer = trace.getTracer('mandate');
  return (name, headers, run) => {
    const parent = propagation.extract(context.active(), headers);
    return tracer.startActiveSpan(name, { kind: SpanKind.SERVER }, parent, async (span) => {
      try {
        return await run();
      } catch (error) {
        const code = error instanceof ServiceError ? error.code : 'internal';
        span.setAttribute('mandate.error_code', code);
        span.setStatus({ code: SpanStatusCode.ERROR, message: code });
        throw error;
      } finally {
        span.end();
      }
    });
  };
}
