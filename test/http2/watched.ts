import type { Receiver, ServerStream } from '../../src/http2/server-stream.ts';

/**
 * Looks over the shoulder of a handler: what `Receiver` promises (each thing at most once, in order, nothing once it is
 * closed, nothing while it is paused) is checked whatever the test is about. What was broken goes to `note`.
 */
export function watch(stream: ServerStream, note: (what: string) => void): void {
  let isClosed = false;
  let hasEnded = false;
  let hasWaited = false;
  let isPaused = false;
  const never = (what: string): void => note(`stream ${(stream as { id?: number }).id}: ${what}`);
  const check = (callback: string): void => {
    if (isClosed) never(`${callback} after closed`);
  };
  const receive = stream.receive.bind(stream);
  const pause = stream.pause.bind(stream);
  const resume = stream.resume.bind(stream);
  stream.pause = () => {
    isPaused = true;
    pause();
  };
  stream.resume = () => {
    isPaused = false;
    resume();
  };
  stream.receive = (receiver) => {
    const watched: Receiver = {
      data(chunk) {
        check('data');
        if (hasEnded) never('data after end');
        if (isPaused) never('data while it is paused');
        if (chunk.length === 0) never('data of nothing');
        receiver.data(chunk);
      },
      end() {
        check('end');
        if (hasEnded) never('end twice');
        if (isPaused) never('end while it is paused');
        hasEnded = true;
        if (!stream.isComplete) never('end of what is not complete');
        receiver.end();
      },
      closed() {
        check('closed');
        isClosed = true;
        if (!stream.isClosed) never('closed, and does not say so');
        receiver.closed();
      },
      drained() {
        check('drained');
        receiver.drained?.();
      },
      waits() {
        check('waits');
        if (hasEnded) never('waits after end');
        if (hasWaited) never('waits twice');
        hasWaited = true;
        receiver.waits?.();
      },
    };
    receive(watched);
  };
}

/** Errors that no `try` was around: what would end a process. Others' listeners are put aside meanwhile. */
export function catchEscaped(): Disposable & { readonly errors: unknown[] } {
  const errors: unknown[] = [];
  const kinds = ['uncaughtException', 'unhandledRejection'] as const;
  const listeners = kinds.map((kind) => process.listeners(kind as 'uncaughtException'));
  const keep = (error: unknown): void => void errors.push(error);
  for (const kind of kinds) process.removeAllListeners(kind).on(kind, keep);
  return {
    errors,
    [Symbol.dispose]() {
      for (const [at, kind] of kinds.entries()) {
        process.removeListener(kind, keep);
        for (const listener of listeners[at] ?? []) process.on(kind, listener);
      }
    },
  };
}
