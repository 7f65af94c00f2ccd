import { ErrorCode } from '../../../src/http2/errors.ts';
import type { ServerStream } from '../../../src/http2/server-stream.ts';
import { answerAtOnce, echo, head, mirror, OK, ponder, type Serve } from '../echo.ts';

/** Handlers of every kind: right ones, slow ones, and ones that throw. All come to their end once their stream is closed. */

const large = Buffer.alloc(300_000, 7);
const soon = (call: () => void): void => void setImmediate(call);
const failing = (): never => {
  throw new Error('on purpose');
};

const reader =
  (at: Partial<Record<'data' | 'end' | 'waits' | 'drained', (stream: ServerStream) => void>>): Serve =>
  (stream) =>
    stream.receive({
      data: () => at.data?.(stream),
      end: () => at.end?.(stream),
      waits: () => at.waits?.(stream),
      drained: () => at.drained?.(stream),
      closed: () => stream.settle(),
    });

const pour: Serve = (stream) => {
  let left = 20;
  stream.respond(OK);
  const write = (): void => {
    while (left > 0) {
      left -= 1;
      if (!stream.write(Buffer.alloc(left * 1_000))) return;
    }
    stream.end(head(200, ['done', 'yes']));
  };
  stream.receive({ data: () => undefined, end: write, drained: write, closed: () => stream.settle() });
};

export const handlers: readonly Serve[] = [
  echo,
  mirror,
  ponder,
  pour,
  answerAtOnce(),
  answerAtOnce(large),
  answerAtOnce(Buffer.alloc(10), head(200, ['x', 'v'.repeat(40_000)])),
  (stream) => stream.reset(ErrorCode.REFUSED_STREAM),
  (stream) => soon(() => stream.answer(OK, Buffer.from('late'))),
  (stream) =>
    soon(() =>
      stream.receive({ data: () => undefined, end: () => stream.answer(OK), closed: () => stream.settle() }),
    ),
  (stream) => soon(() => soon(() => stream.reset(ErrorCode.CANCEL))),
  () => failing(),
  reader({ data: failing }),
  reader({ end: failing }),
  reader({ waits: failing, end: (stream) => stream.answer(OK, large) }),
  reader({ waits: (stream) => stream.answer(head(408)), end: (stream) => stream.end() }),
  reader({ data: (stream) => stream.answer(OK, Buffer.from('enough')), end: (stream) => stream.answer(OK) }),
  reader({ data: (stream) => stream.end(), end: (stream) => stream.end() }),
  reader({
    data(stream) {
      stream.pause();
      soon(() => stream.resume());
    },
    end: (stream) => stream.answer(OK, Buffer.from('in its time')),
  }),
  reader({ data: (stream) => stream.pause(), end: (stream) => stream.answer(OK) }),
  (stream, connection) => {
    reader({ drained: failing, end: (stream) => stream.end() })(stream, connection);
    stream.respond(OK);
    stream.write(large);
  },
  (stream, connection) => {
    if (connection.open % 5 === 0) connection.goAway(connection.open % 2 === 0);
    mirror(stream, connection);
  },
  (stream, connection) => {
    connection.widen({ streams: 60, streamWindow: 100_000, connectionWindow: 2 * 1024 * 1024 });
    echo(stream, connection);
  },
  (stream, connection) => {
    if (connection.open > 12) connection.destroy();
    echo(stream, connection);
  },
];
