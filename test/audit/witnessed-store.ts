import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { LogProofs } from '../../src/audit/proof/proofs.ts';
import { witnessServer } from '../../src/audit/witness/server.ts';
import { Witnessing, type WitnessPeer } from '../../src/audit/witness/witnessing.ts';
import { systemClock } from '../../src/effects.ts';
import { checkpointText } from '../../src/merkle/checkpoint.ts';
import { SignatureType, type SignerKey, type VerifierKey } from '../../src/merkle/keys.ts';
import { isNoteOf, signNote } from '../../src/merkle/note.ts';
import { type AddCheckpoint, parseAddCheckpoint, Witness } from '../../src/merkle/witness.ts';
import { faultChannel, type StoreFault } from '../../src/storage/faults.ts';
import { openReader } from '../../src/storage/reader.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import { eventually } from '../e2e/server.ts';
import { newSigner } from '../merkle/signers.ts';
import { log, MemoryState } from '../merkle/witnessed.ts';
import { appendRows, openStore, rowOf, temporaryFolder, tenantNo } from '../storage/store.ts';

/** A store whose log has checkpoints, and witnesses of it that do as they should, or as a test says. */

export interface Stage extends AsyncDisposable {
  readonly no: TenantNo;
  readonly proofs: LogProofs;
  readonly witnessing: Witnessing;
  /** What went wrong, as the server's log would have it. */
  readonly failures: string[];
  /** Appends records, and states a checkpoint that covers them; answers its size. */
  grow(count: number): Promise<number>;
  /** Closes the store, and opens it again. */
  again(): Promise<Stage>;
}

/** `eachMs`: how soon the witnesses hear of a checkpoint. */
export async function stage(witnesses: readonly WitnessPeer[], eachMs = 20): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const { folder } = stack.use(await temporaryFolder());
  const opened = await open(folder, witnesses, eachMs);
  stack.use(opened);
  const running = stack.move();
  const again = async (): Promise<Stage> => {
    await opened[Symbol.asyncDispose]();
    return open(folder, witnesses, eachMs);
  };
  return { ...opened, again, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

async function open(folder: string, witnesses: readonly WitnessPeer[], eachMs: number): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const writer = stack.use(await openStore(folder));
  const reader = stack.adopt(openReader(folder), (db) => void db.close());
  const no = await tenantNo(writer, 'acme');
  const proofs = new LogProofs(reader, systemClock);
  const failures: string[] = [];
  const failed = (error: unknown): void => void failures.push(saidBy(error));
  const witnessing = stack.use(new Witnessing({ witnesses, proofs, writer, failed, eachMs }));
  const running = stack.move();
  return {
    no,
    proofs,
    witnessing,
    failures,
    async grow(count) {
      const rows = Array.from({ length: count }, () => rowOf(no));
      await appendRows(writer, rows);
      const [grown] = (await writer.run('grownLogs', { limit: 1 })).value;
      if (!grown) throw new Error('it has not grown');
      const note = signNote(checkpointText({ origin: log.name, ...grown }), log);
      await writer.run('putCheckpoint', { tenantNo: no, size: grown.size, note });
      witnessing.stated(no);
      return grown.size;
    },
    again: () => Promise.reject(new Error('it is closed')),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

const saidBy = (error: unknown): string => {
  const { code, detail, message } = error as { code?: string; detail?: string; message: string };
  return `${code ?? 'no code'}: ${detail ?? message}`;
};

export interface Peer extends WitnessPeer, AsyncDisposable {
  readonly key: SignerKey;
  /** What it was asked, one after the other. */
  readonly asked: AddCheckpoint[];
  /** Ends what it serves, and serves it again at the same place. */
  stop(): Promise<void>;
  begin(): Promise<void>;
}

type Behaviour = (request: AddCheckpoint, response: ServerResponse, key: SignerKey) => void;

/** A witness that answers as it is told. */
export const behaving = (name: string, behaviour: Behaviour): Promise<Peer> => {
  const key = newSigner(name, SignatureType.COSIGNATURE);
  const asked: AddCheckpoint[] = [];
  const server = http.createServer((request, response) => {
    void text(request).then((body) => {
      const read = parseAddCheckpoint(body);
      asked.push(read);
      behaviour(read, response, key);
    });
  });
  return serving(server, key, asked);
};

/** One that does as it should. `state`: what it has signed already. */
export const good = (name: string, state = new MemoryState()): Promise<Peer> => goodOf(name, [log], state);

/** The same for these logs; more may be put to them. */
export function goodOf(name: string, logs: readonly VerifierKey[], state = new MemoryState()): Promise<Peer> {
  const key = newSigner(name, SignatureType.COSIGNATURE);
  const failed = (error: unknown): void => {
    throw error;
  };
  const asked: AddCheckpoint[] = [];
  const server = witnessServer(new Witness(key, logs, state), () => undefined, failed);
  server.prependListener('request', (request: IncomingMessage) => {
    let body = '';
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString();
    });
    request.on('end', () => asked.push(parseAddCheckpoint(body)));
  });
  return serving(server, key, asked);
}

async function serving(server: http.Server, key: SignerKey, asked: AddCheckpoint[]): Promise<Peer> {
  let port = 0;
  const begin = async (): Promise<void> => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    ({ port } = server.address() as AddressInfo);
  };
  const stop = async (): Promise<void> => {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  };
  await begin();
  return { key, url: `http://127.0.0.1:${port}/`, asked, begin, stop, [Symbol.asyncDispose]: stop };
}

/** Which of these have signed what strangers are shown, as soon as that is enough. */
export async function shownBy(
  { proofs, no }: Stage,
  peers: readonly Peer[],
  enough: (names: string[], size: number) => boolean,
): Promise<string[]> {
  const { names } = await eventually(
    () => {
      const { note, size } = proofs.shown(no);
      if (!isNoteOf(note, log)) throw new Error('the log has not signed it');
      const signers = peers.filter(({ key }) => isNoteOf(note, key));
      return Promise.resolve({ names: signers.map(({ key }) => key.name), size });
    },
    ({ names: signers, size }) => enough(signers, size),
  );
  return names;
}

/** What went wrong, as soon as so much has. */
export const failing = ({ failures }: Stage, count = 1): Promise<string[]> =>
  eventually(
    () => Promise.resolve(failures),
    (all) => all.length >= count,
  );

/** The faults of a store that were reported in this thread, until it is disposed of. */
export function heardFaults(): { faults: StoreFault[] } & Disposable {
  const faults: StoreFault[] = [];
  const hear = (fault: unknown): void => void faults.push(fault as StoreFault);
  subscribe(faultChannel.name, hear);
  return { faults, [Symbol.dispose]: () => void unsubscribe(faultChannel.name, hear) };
}
