import type { Receiver } from '../../../src/http2/server-stream.ts';
import { mirror, OK, type Serve } from '../echo.ts';

/** Parts of handlers that throw. */

export const fault = new Error('of the handler');
export const throws = (): never => {
  throw fault;
};
export const quietly: Receiver = { data: () => undefined, end: () => undefined, closed: () => undefined };

/** `/` is served; all others get this. */
export const or =
  (bad: Serve): Serve =>
  (stream, connection) =>
    (stream.line.path === '/' ? mirror : bad)(stream, connection);
export const receiving = (receiver: Partial<Receiver>): Serve =>
  or((stream) => stream.receive({ ...quietly, ...receiver }));

/** A handler that answers with more than the client takes, so that `drained` will be called. */
export const pouring = (receiver: Partial<Receiver>): Serve =>
  or((stream) => {
    stream.respond(OK);
    stream.receive({ ...quietly, ...receiver });
    stream.write(Buffer.alloc(100));
  });
