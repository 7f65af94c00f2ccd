import { describe } from 'vitest';
import { everyCall } from './calls.ts';
import { clientOf } from './plan.ts';
import { grpcioProgram, missing, pythonWithGrpcio } from './programs.ts';

/** Python's grpcio, which is gRPC's C core: in the version of tools/clients/grpcio/requirements.txt. */

const absent = missing('python3', 'install it with its module venv');

describe.skipIf(absent)(`grpcio${absent}`, () => {
  everyCall(async () => clientOf(await pythonWithGrpcio(), [grpcioProgram]), {
    calls: 400,
    streamed: 500,
    keepaliveMs: 1_000,
  });
});
