import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { serving, turns } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { ping } from '../wire.ts';
import { nodeServer, tell } from './node-echo.ts';
import { Script, type Step, steps } from './steps.ts';

/** The same frames to Node's http2 and to ours: what one answers the other answers, what one refuses the other refuses. */

/** More of them where `HTTP2_FUZZ_RUNS` says so, other ones with `HTTP2_FUZZ_SEED`. */
const RUNS = Number(process.env['HTTP2_FUZZ_RUNS'] ?? 2_000);
const SEED = Number(process.env['HTTP2_FUZZ_SEED'] ?? 9_113);

type Fate = 'open' | 'refused' | `answered ${string}`;

/** One client, told step by step; after each it waits until what comes of it at once is here. */
class Run implements Disposable {
  readonly #client: RawClient;
  readonly #isNode: boolean;

  constructor(client: RawClient, isNode: boolean) {
    this.#client = client;
    this.#isNode = isNode;
  }

  get isOver(): boolean {
    return this.#client.hasEnded || this.#client.isClosed || this.#client.goAway !== undefined;
  }

  get reason(): string {
    return this.#client.goAway?.reason ?? '';
  }

  async tell(bytes: Buffer): Promise<void> {
    this.#client.send(bytes);
    // Node calls its handlers in a turn after that in which it read.
    for (let round = 0; round < (this.#isNode ? 2 : 1) && !this.isOver; round += 1) {
      const before = this.#client.frames.filter(({ type, flags }) => type === 6 && flags === 1).length;
      this.#client.send(ping('fuzzfuzz'));
      const isBack = (): boolean =>
        this.#client.frames.filter(({ type, flags }) => type === 6 && flags === 1).length > before;
      await this.#client.until(() => isBack() || this.isOver, 'an answer to PING');
      await turns(2);
    }
  }

  code(id: number): number | undefined {
    return this.#client.answer(id).reset;
  }

  fate(id: number): Fate {
    const answer = this.#client.answer(id);
    if (answer.isEnded) return `answered ${answer.status} ${answer.body.toString()}`;
    return answer.reset !== undefined || this.isOver ? 'refused' : 'open';
  }

  [Symbol.dispose](): void {
    this.#client[Symbol.dispose]();
  }
}

interface Exception {
  readonly why: string;
  /** Who refuses, the stream or the connection, what the other takes. */
  readonly stricter: 'ours' | 'node';
  readonly step: RegExp;
  /** What we said when we ended the connection for it. */
  readonly reason?: RegExp;
  /** What we gave the stream up with. */
  readonly code?: number;
}

/** Where we differ, on purpose. */
const exceptions: readonly Exception[] = [
  {
    why: 'RFC 9113 5.1: a header section on a stream that is over ends the connection; nghttp2 leaves it',
    stricter: 'ours',
    step: /./,
    reason: /a stream begins that was before/,
  },
  {
    why: 'RFC 9113 6.3: what PRIORITY must not be; nghttp2 does not look at priorities any more',
    stricter: 'ours',
    step: /PRIORITY/,
    reason: /depends on itself|PRIORITY without a stream/,
  },
  {
    why: 'RFC 9113 5.1: DATA on a stream that is over or was left out is told STREAM_CLOSED; nghttp2 leaves it',
    stricter: 'ours',
    step: /DATA|a bit turned/,
    code: ErrorCode.STREAM_CLOSED,
  },
  {
    why: 'RFC 9113 6.1: padding is checked of DATA for streams that are over, too; nghttp2 leaves it',
    stricter: 'ours',
    step: /DATA/,
    reason: /more padding than there is frame/,
  },
  {
    why: 'RFC 9113 8.2.1: a field whose value is none makes its request malformed; nghttp2 leaves the field out',
    stricter: 'ours',
    step: /a request with a new line|a bit turned of (a request|trailers)/,
    code: ErrorCode.PROTOCOL_ERROR,
  },
  {
    why: 'RFC 9113 6.8: who goes away may still ask; Node gives up its streams',
    stricter: 'node',
    step: /GOAWAY/,
  },
  {
    why: 'RFC 9113 6.9: a wrong window of a stream is the fault of the stream; Node ends the connection',
    stricter: 'node',
    step: /WINDOW_UPDATE of (nothing|too much)|a bit turned of WINDOW_UPDATE/,
  },
  {
    why: 'RFC 9113 5.1: what comes half-closed (remote) is the fault of the stream; Node ends the connection',
    stricter: 'node',
    step: /trailers|DATA|HEADERS of a stream that was before/,
  },
  {
    why: 'RFC 9113 8.1.1: another length than was claimed is the fault of the stream; Node ends the connection',
    stricter: 'node',
    step: /DATA/,
  },
  {
    why: 'RFC 9113 6.7: an answer to PING that was not asked for is left; Node ends the connection',
    stricter: 'node',
    step: /a bit turned of of the connection/,
  },
];

async function compare(ports: { node: number; ours: number }, all: readonly Step[]): Promise<void> {
  using node = new Run(await RawClient.connect(ports.node), true);
  using own = new Run(await RawClient.connect(ports.ours), false);
  const script = new Script();
  const told: string[] = [];
  for (const step of all) {
    const bytes = step.bytes(script);
    told.push(`${step.kind} ${bytes.toString('hex').slice(0, 80)}`);
    await Promise.all([node.tell(bytes), own.tell(bytes)]);
    const fates = script.ids.map((id) => ({ id, ours: own.fate(id), node: node.fate(id) }));
    const differing = fates.filter(({ ours, node }) => ours !== node);
    if (differing.length === 0 && own.isOver === node.isOver) {
      if (own.isOver) return;
      continue;
    }
    const strict = (one: boolean, fate: Fate[]): boolean => one || fate.includes('refused');
    const ourStrictness = strict(
      own.isOver && !node.isOver,
      differing.map(({ ours }) => ours),
    );
    const exception = exceptions.find(
      ({ step: kind, stricter, reason, code }) =>
        kind.test(step.kind) &&
        stricter === (ourStrictness ? 'ours' : 'node') &&
        (reason === undefined || reason.test(own.reason)) &&
        (code === undefined || (!own.isOver && differing.every(({ id }) => own.code(id) === code))),
    );
    if (!exception) {
      const state = { over: { ours: own.isOver, node: node.isOver }, differing };
      throw new Error(`they differ after\n${told.join('\n')}\n${JSON.stringify(state, undefined, 1)}`);
    }
    return;
  }
}

test('RFC 9113: any frames come to the same as with nghttp2', { timeout: 600_000 }, async () => {
  await using ours = await serving({ serve: tell });
  using node = await nodeServer();
  const ports = { node: node.port, ours: ours.port };
  await fc.assert(
    fc.asyncProperty(steps, (all) => compare(ports, all)),
    { seed: SEED, numRuns: RUNS },
  );
  await ours.quiet();
  expect(ours.failures).toEqual([]);
});
