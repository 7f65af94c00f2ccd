import { describe } from 'vitest';
import { everyCall } from './calls.ts';
import { clientOf } from './plan.ts';
import { goProgram } from './programs.ts';

/** google.golang.org/grpc, in the version of tools/clients/go.mod. It pings no more often than every ten seconds. */

describe('grpc-go', () => {
  everyCall(async () => clientOf(await goProgram('grpc-go')), {
    calls: 2_000,
    streamed: 3_000,
    keepaliveMs: 10_000,
  });
});
