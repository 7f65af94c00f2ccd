import { once } from 'node:events';
import type { Metadata } from '@grpc/grpc-js';
import type { Grpc } from '../grpc.ts';
import { alone, SECRET, type Started, started } from './started.ts';

/** The same questions to a server whose connections are threads', and to one that has no such threads. */

export interface Both extends AsyncDisposable {
  readonly threads: Started;
  readonly main: Started;
}

/** The bytes of a CheckRequest: user u reads thing t. */
export const checkOf = (tenant: string): Buffer => {
  const field = (tag: number, ...parts: readonly (string | Buffer)[]): Buffer => {
    const bytes = Buffer.concat(parts.map((part) => Buffer.from(part)));
    return Buffer.concat([Buffer.of(tag, bytes.length), bytes]);
  };
  return Buffer.concat([
    field(0x0a, tenant),
    field(0x12, field(0x0a, 'user'), field(0x12, 'u')),
    field(0x22, field(0x0a, 'read')),
    field(0x2a, field(0x0a, 'thing'), field(0x12, 't')),
  ]);
};

/** A connection to each. */
export interface Pair extends Disposable {
  readonly threads: Grpc;
  readonly main: Grpc;
}

export async function bothStarted(...[overrides = {}, tenants]: Parameters<typeof started>): Promise<Both> {
  await using stack = new AsyncDisposableStack();
  const threads = stack.use(await started(overrides, tenants, 0));
  const main = stack.use(await started({ ...overrides, accept_threads: 0 }, tenants, 0));
  const moved = stack.move();
  return { threads, main, [Symbol.asyncDispose]: () => moved.disposeAsync() };
}

export function pairOf({ threads, main }: Both, secret: string | undefined = SECRET): Pair {
  const pair = { threads: alone(threads.served.data, secret), main: alone(main.served.data, secret) };
  return {
    ...pair,
    [Symbol.dispose]: () => {
      for (const pep of [pair.threads, pair.main]) pep[Symbol.dispose]();
    },
  };
}

/** Unlike for each answer. */
const OWN = new Set(['decision_id', 'record_index']);

/** What is alike of an answer, or of an error: its status, text and trailers. */
export async function seen(answer: Promise<unknown>): Promise<unknown> {
  try {
    return JSON.parse(
      JSON.stringify(await answer, (name, value: unknown) => (OWN.has(name) ? undefined : value)),
    ) as unknown;
  } catch (error) {
    const { code, details, metadata } = error as { code: number; details: string; metadata: Metadata };
    const trailers = Object.entries(metadata.getMap()).filter(([name]) => name !== 'date');
    return { code, details, trailers: Object.fromEntries(trailers) };
  }
}

export interface Streamed {
  /** By correlation id. */
  readonly answers: readonly unknown[];
  readonly end: unknown;
}

/** Everything that a stream says, and how it ends. */
export async function streamed(pep: Grpc, messages: readonly object[]): Promise<Streamed> {
  const stream = pep.duplex('DecisionService', 'CheckStream');
  const answers: unknown[] = [];
  stream.on('data', (answer) => answers.push(answer));
  const ended = once(stream, 'end').catch((error: unknown) => error);
  for (const message of messages) stream.write(message);
  stream.end();
  const end = await ended;
  const byId = await seen(Promise.resolve(answers));
  const sorted = (byId as { correlation_id: number }[]).toSorted(
    (a, b) => a.correlation_id - b.correlation_id,
  );
  return { answers: sorted, end: end instanceof Error ? await seen(Promise.reject(end)) : 'ended' };
}
