import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import {
  CheckBatchResponseSchema,
  CheckResponseSchema,
  CheckStreamResponseSchema,
} from '../../../src/gen/mandate/v1/decision_pb.ts';
import { Decision } from '../../../src/gen/mandate/v1/model_pb.ts';
import { call } from '../../harness/grpc.ts';
import type { Target } from '../../harness/load.ts';
import { answers, freePort, launch, type Running } from '../../harness/processes.ts';
import { principal, questions, typical } from '../../scenario/questions.ts';
import { FULL_LOAD, type Peer } from '../peer.ts';
import { batchFrame, checkFrame, streamFrames } from './requests.ts';
import { SECRET, writeTenant } from './tenant.ts';

export const STREAM_MESSAGES = 1_000;
export const BATCH_ITEMS = 100;
/** How many people ask, beside the typical one. */
export const PEOPLE = 200;

const TENANT = 'bench';
/** As it is packaged: built, with its compiled code kept (`make bench` builds it). */
const cli = path.resolve(import.meta.dirname, '../../../dist/src/cli/mandate.js');
const headers = {
  'content-type': 'application/grpc',
  te: 'trailers',
  authorization: `Bearer ${SECRET}`,
} as const;

export interface MandatePeer extends Peer {
  /** A call whose body is STREAM_MESSAGES different questions. */
  readonly stream: Target;
  /** A call for BATCH_ITEMS decisions. */
  readonly batch: Target;
  readonly dataUrl: string;
}

/** Serves the tenants in `tenants` as in production: callers authenticate, records are durable. */
export async function serve(
  folder: string,
  tenants: string,
  args: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<{ running: Running; dataUrl: string; adminUrl: string }> {
  const [data, admin] = [await freePort(), await freePort()];
  const dataUrl = `http://127.0.0.1:${data}`;
  const addresses = ['--listen-data', `127.0.0.1:${data}`, '--listen-admin', `127.0.0.1:${admin}`];
  const running = await launch({
    command: process.execPath,
    args: [
      cli,
      'serve',
      ...addresses,
      '--data-dir',
      path.join(folder, 'data'),
      '--tenants',
      tenants,
      ...args,
    ],
    log: path.join(folder, 'mandate.log'),
    ready: () => answers(`${dataUrl}/readyz`),
    pollMs: 3,
    env,
  });
  return { running, dataUrl, adminUrl: `http://127.0.0.1:${admin}` };
}

/** A Check of one question as a load target; asks once to see what an answer weighs. */
export async function checkTarget(dataUrl: string, body: Buffer, file: string): Promise<Target> {
  return target(`${dataUrl}/mandate.v1.DecisionService/Check`, body, file);
}

async function target(url: string, body: Buffer, file: string): Promise<Target> {
  writeFileSync(file, body);
  const { bytes } = await call(url, headers, body);
  return { url, headers, body: file, ...FULL_LOAD, responseBytes: bytes };
}

/** Why a question is denied: the codes of the reasons, none if it is allowed. */
export async function reasonsFor(dataUrl: string, body: Buffer): Promise<string[]> {
  const { messages } = await call(`${dataUrl}/mandate.v1.DecisionService/Check`, headers, body);
  return fromBinary(CheckResponseSchema, messages[0] ?? new Uint8Array()).reasons.map(({ code }) => code);
}

/** The scenario on Mandate. */
export async function startMandate(folder: string): Promise<MandatePeer> {
  const tenants = path.join(folder, 'tenants');
  const people = [typical.principal, ...Array.from({ length: PEOPLE }, (_, n) => principal(n))];
  writeTenant(tenants, { id: TENANT, principals: people });
  const { running, dataUrl } = await serve(folder, tenants);
  const service = `${dataUrl}/mandate.v1.DecisionService`;
  const asked = questions(STREAM_MESSAGES, PEOPLE);
  const streamed = streamFrames(TENANT, asked);
  const batch = batchFrame(TENANT, typical, asked.slice(0, BATCH_ITEMS));
  await assertWhole(service, streamed, batch);
  return {
    running,
    dataUrl,
    unary: await checkTarget(dataUrl, checkFrame(TENANT, typical), path.join(folder, 'check.bin')),
    stream: {
      ...(await target(`${service}/CheckStream`, streamed, path.join(folder, 'stream.bin'))),
      clients: 2,
      streams: 2,
    },
    batch: {
      ...(await target(`${service}/CheckBatch`, batch, path.join(folder, 'batch.bin'))),
      clients: 4,
      streams: 8,
    },
    allows: async (question) => {
      const { messages } = await call(`${service}/Check`, headers, checkFrame(TENANT, question));
      return fromBinary(CheckResponseSchema, messages[0] ?? new Uint8Array()).decision === Decision.ALLOW;
    },
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

/** A stream or batch that is cut short or refused would look fast. */
async function assertWhole(service: string, streamed: Buffer, batch: Buffer): Promise<void> {
  const answered = await call(`${service}/CheckStream`, headers, streamed);
  const good = answered.messages.filter(
    (message) => fromBinary(CheckStreamResponseSchema, message).result.case === 'response',
  );
  if (good.length !== STREAM_MESSAGES)
    throw new Error(`CheckStream answers ${good.length} of ${STREAM_MESSAGES}`);
  const [batched] = (await call(`${service}/CheckBatch`, headers, batch)).messages;
  const results = fromBinary(CheckBatchResponseSchema, batched ?? new Uint8Array()).results.length;
  if (results !== BATCH_ITEMS) throw new Error(`CheckBatch answers ${results} of ${BATCH_ITEMS}`);
}
