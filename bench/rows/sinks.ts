import { mkdirSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { fromBinary } from '@bufbuild/protobuf';
import { CheckResponseSchema } from '../../src/gen/mandate/v1/decision_pb.ts';
import { call } from '../harness/grpc.ts';
import { throughput } from '../harness/load.ts';
import { checkFrame } from '../peers/mandate/requests.ts';
import { checkTarget, serve } from '../peers/mandate/server.ts';
import { writeTenant } from '../peers/mandate/tenant.ts';
import { type Bench, type RowGroup, row } from '../row.ts';
import { typical } from '../scenario/questions.ts';

const WANTED_S = 10;
/** How long what was asked last may take to arrive, at most. */
const MOST_S = 120;

/** How long after its answer a record has arrived at an HTTP sink, under full load and after it. */
export const sinkRows: RowGroup = {
  names: ['sink_lag_s'],
  measure: async (bench) => {
    const folder = path.join(bench.folder, 'sinks');
    const tenants = path.join(folder, 'tenants');
    mkdirSync(folder, { recursive: true });
    writeTenant(tenants, { id: 'bench', principals: [typical.principal] });
    const receiver = await listen();
    const config = path.join(folder, 'mandate.yaml');
    writeFileSync(config, `sinks: [{ name: bench, http: { url: "${receiver.url}" } }]\n`);
    try {
      const { running, dataUrl } = await serve(folder, tenants, ['--config', config]);
      await using _ = running;
      return [await measure(bench, folder, dataUrl, receiver)];
    } finally {
      receiver.close();
    }
  },
};

async function measure(bench: Bench, folder: string, dataUrl: string, receiver: Listening) {
  const target = await checkTarget(dataUrl, checkFrame('bench', typical), path.join(folder, 'check.bin'));
  const ended = throughput(target, bench.seconds * 2);
  await delay(bench.seconds * 1_000);
  const lags: number[] = [];
  for (let sample = 0; sample < 3; sample += 1) {
    lags.push(await lagOf(dataUrl, receiver));
    bench.say(`sink: a record asked for under full load arrived after ${lags.at(-1)?.toFixed(1)} s`);
  }
  const rate = await ended;
  const after = await lagOf(dataUrl, receiver);
  bench.say(`sink: ${rate.toFixed(0)} decisions/s; afterwards ${after.toFixed(1)} s`);
  return row('sink_lag_s', 's', Math.max(...lags), WANTED_S, {
    note: `from an answer to its record's arrival at an HTTP sink (JSON Lines, gzip), at ${Math.round(rate)} decisions/s with the sink, the load and its receiver on the same cores; ${after.toFixed(1)} s once the load is over; no figure is asked for`,
    raw: { under_load: lags, after },
  });
}

async function lagOf(dataUrl: string, receiver: Listening): Promise<number> {
  const headers = {
    'content-type': 'application/grpc',
    te: 'trailers',
    authorization: 'Bearer mandate-bench-enforcement-point-secret-01',
  };
  const { messages } = await call(
    `${dataUrl}/mandate.v1.DecisionService/Check`,
    headers,
    checkFrame('bench', typical),
  );
  const began = performance.now();
  const { decisionId } = fromBinary(CheckResponseSchema, messages[0] ?? new Uint8Array());
  return ((await receiver.arrival(decisionId, MOST_S * 1_000)) - began) / 1_000;
}

interface Listening {
  readonly url: string;
  /** When a batch with this came. */
  arrival(text: string, mostMs: number): Promise<number>;
  close(): void;
}

async function listen(): Promise<Listening> {
  let wanted = '';
  let arrivedAt: ((at: number) => void) | undefined;
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      // Only while somebody waits: what it costs is the machine's too.
      if (wanted !== '' && gunzipSync(Buffer.concat(chunks)).includes(wanted)) arrivedAt?.(performance.now());
      response.writeHead(204).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    arrival: async (text, mostMs) => {
      wanted = text;
      const late = new AbortController();
      const at = await Promise.race([
        new Promise<number>((resolve) => {
          arrivedAt = resolve;
        }),
        delay(mostMs, undefined, { signal: late.signal }).then(() => {
          throw new Error('a record did not arrive');
        }),
      ]);
      late.abort();
      wanted = '';
      return at;
    },
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
