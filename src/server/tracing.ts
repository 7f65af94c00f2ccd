import { context, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { ServiceError } from '../errors.ts';

/**
 * Runs a request as a span of the trace its caller began, if tracing is on. `failureIn` finds the stable code of an
 * error in an answer, where a failed request has one.
 */
export type Tracing = <T>(
  name: string,
  headers: Readonly<Record<string, unknown>>,
  run: () => Promise<T>,
  failureIn?: (answer: T) => string | undefined,
) => Promise<T>;

/** Off: the request and nothing else. */
export const noTracing: Tracing = (_name, _headers, run) => run();

/**
 * Spans through OpenTelemetry's API; whichever SDK the process has registered samples and exports them. The caller's
 * `traceparent` is continued by that SDK's propagator (W3C Trace Context).
 */
export function otelTracing(): Tracing {
  const tracer = trace.getTracer('mandate');
  return (name, headers, run, failureIn) => {
    const parent = propagation.extract(context.active(), headers);
    return tracer.startActiveSpan(name, { kind: SpanKind.SERVER }, parent, async (span) => {
      const fail = (code: string): void => {
        span.setAttribute('mandate.error_code', code);
        span.setStatus({ code: SpanStatusCode.ERROR, message: code });
      };
      try {
        const answer = await run();
        const failure = failureIn?.(answer);
        if (failure !== undefined) fail(failure);
        return answer;
      } catch (error) {
        fail(error instanceof ServiceError ? error.code : 'internal');
        throw error;
      } finally {
        span.end();
      }
    });
  };
}
