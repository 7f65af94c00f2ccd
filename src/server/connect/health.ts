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
  return {
    async check({ service }) {
      const answer = statusOf(service);
      if (answer.status === Status.SERVICE_UNKNOWN) throw new ConnectError('no such service', Code.NotFound);
      return answer;
    },
    async *watch({ service }, context) {
      const signal = AbortSignal.any([context.signal, stopping]);
      let last: number | undefined;
      for (;;) {
        const answer = statusOf(service);
        if (answer.status !== last) yield answer;
        last = answer.status;
        if (signal.aborted) return;
        await sleep(WATCH_MS, undefined, { signal, ref: false }).catch(() => undefined);
      }
    },
  };
}
