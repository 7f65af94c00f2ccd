import { setTimeout as sleep } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError, type ServiceImpl } from '@connectrpc/connect';
import {
  type Health,
  type HealthCheckResponse,
  HealthCheckResponseSchema,
  HealthCheckResponse_ServingStatus as Status,
} from '../../gen/grpc/health/v1/health_pb.ts';
import type { Readiness } from '../http/health.ts';

const WATCH_MS = 500;

/** gRPC health checking: the empty name is the server, others are those of its services. */
export function healthService(
  readiness: Readiness,
  services: ReadonlySet<string>,
  stopping: AbortSignal,
): ServiceImpl<typeof Health> {
  const statusOf = (service: string): HealthCheckResponse => {
    const known = service === '' || services.has(service);
    const status = known
      ? readiness.ready() && !stopping.aborted
        ? Status.SERVING
        : Status.NOT_SERVING
      : Status.SERVICE_UNKNOWN;
    return create(HealthCheckResponseSchema, { status });
  };
  const looks = new Looks(stopping);
  return {
    async check({ service }) {
      const answer = statusOf(service);
      if (answer.status === Status.SERVICE_UNKNOWN) throw new ConnectError('no such service', Code.NotFound);
      return answer;
    },
    async *watch({ service }, { signal }) {
      let last: number | undefined;
      for (;;) {
        const answer = statusOf(service);
        if (answer.status !== last) yield answer;
        last = answer.status;
        // It may have stopped while what was said before was on its way.
        if (signal.aborted || (stopping.aborted && statusOf(service).status === last)) return;
        await looks.next(signal);
      }
    },
  };
}

/** When to look again, for all who watch at once: one timer while there is anybody. */
class Looks {
  readonly #stopping: AbortSignal;
  #next: Promise<void> | undefined;

  constructor(stopping: AbortSignal) {
    this.#stopping = stopping;
  }

  async next(signal: AbortSignal): Promise<void> {
    this.#next ??= sleep(WATCH_MS, undefined, { signal: this.#stopping, ref: false })
      .catch(() => undefined)
      .then(() => {
        this.#next = undefined;
      });
    const gone = Promise.withResolvers<void>();
    const onAbort = (): void => gone.resolve();
    signal.addEventListener('abort', onAbort, { once: true });
    await Promise.race([this.#next, gone.promise]);
    signal.removeEventListener('abort', onAbort);
  }
}
