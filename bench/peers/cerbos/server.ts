import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { stringify } from 'yaml';
import { call } from '../../harness/grpc.ts';
import type { Target } from '../../harness/load.ts';
import { answers, freePort, launch } from '../../harness/processes.ts';
import { questions, typical } from '../../scenario/questions.ts';
import { FULL_LOAD, type Peer } from '../peer.ts';
import { allowedIn, checkFrame } from './requests.ts';

/** The most resources that Cerbos takes in one call unless told otherwise. */
export const BATCH_RESOURCES = 50;

export interface CerbosPeer extends Peer {
  /** A call for BATCH_RESOURCES decisions. */
  readonly batch: Target;
}

const headers = { 'content-type': 'application/grpc', te: 'trailers' } as const;

/** The server itself, not the script of the package `cerbos` that starts it as a child and cannot be stopped by id. */
function binary(): string {
  const package_ = `@cerbos/cerbos-${process.platform}-${process.arch}`;
  const fromCerbos = createRequire(createRequire(import.meta.url).resolve('cerbos'));
  return fromCerbos.resolve(package_);
}

/** The scenario on Cerbos, decision logs into its local store, nothing sent home. */
export async function startCerbos(folder: string): Promise<CerbosPeer> {
  const policies = path.join(folder, 'policies');
  mkdirSync(policies, { recursive: true });
  cpSync(path.join(import.meta.dirname, 'document.yaml'), path.join(policies, 'document.yaml'));
  const [http, grpc] = [await freePort(), await freePort()];
  const config = path.join(folder, 'cerbos.yaml');
  writeFileSync(config, stringify(configuration(folder, policies, http, grpc)));
  const running = await launch({
    command: binary(),
    args: ['server', `--config=${config}`, '--log-level=error'],
    log: path.join(folder, 'cerbos.log'),
    ready: () => answers(`http://127.0.0.1:${http}/_cerbos/health`),
    env: { CERBOS_NO_TELEMETRY: '1', DO_NOT_TRACK: '1' },
  });
  const url = `http://127.0.0.1:${grpc}/cerbos.svc.v1.CerbosService/CheckResources`;
  const target = async (file: string, body: Buffer): Promise<Target> => {
    writeFileSync(file, body);
    const { bytes } = await call(url, headers, body);
    return { url, headers, body: file, ...FULL_LOAD, responseBytes: bytes };
  };
  const batch = checkFrame(typical, questions(BATCH_RESOURCES, 100));
  const decided = allowedIn((await call(url, headers, batch)).messages[0] ?? Buffer.alloc(0)).length;
  if (decided !== BATCH_RESOURCES) throw new Error(`Cerbos answers ${decided} of ${BATCH_RESOURCES}`);
  return {
    running,
    unary: await target(path.join(folder, 'check.bin'), checkFrame(typical, [typical])),
    batch: { ...(await target(path.join(folder, 'batch.bin'), batch)), clients: 4, streams: 8 },
    allows: async (question) => {
      const { messages } = await call(url, headers, checkFrame(question, [question]));
      return allowedIn(messages[0] ?? Buffer.alloc(0))[0] === true;
    },
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

const configuration = (folder: string, policies: string, http: number, grpc: number) => ({
  server: {
    httpListenAddr: `127.0.0.1:${http}`,
    grpcListenAddr: `127.0.0.1:${grpc}`,
    requestLimits: { maxResourcesPerRequest: BATCH_RESOURCES },
  },
  storage: { driver: 'disk', disk: { directory: policies, watchForChanges: false } },
  audit: {
    enabled: true,
    accessLogsEnabled: false,
    decisionLogsEnabled: true,
    // Cerbos' own store; it is faster with it than with its backend "file".
    backend: 'local',
    local: { storagePath: path.join(folder, 'audit') },
  },
  telemetry: { disabled: true },
});
