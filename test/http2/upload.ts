import { FIRST_WINDOW, Type } from '../../src/http2/wire/frames.ts';
import type { RawClient } from './raw-client.ts';
import { data, END } from './wire.ts';

/**
 * Sends bodies by turns as the server's windows allow (RFC 9113 section 6.9), in frames of at most `each` bytes; their
 * streams were begun, nothing else was sent on the connection yet, and stream windows are 65,535 at first.
 */
export async function upload(
  client: RawClient,
  bodies: ReadonlyMap<number, Buffer>,
  each: number,
): Promise<void> {
  const windows = new Map([0, ...bodies.keys()].map((id) => [id, FIRST_WINDOW]));
  const change = (id: number, by: number): void => void windows.set(id, (windows.get(id) ?? 0) + by);
  const left = new Map(bodies);
  let seen = 0;
  const room = (id: number): number => Math.min(each, windows.get(0) ?? 0, windows.get(id) ?? 0);
  const look = (): boolean => {
    for (; seen < client.frames.length; seen += 1) {
      const frame = client.frames[seen];
      if (frame?.type === Type.WINDOW_UPDATE) change(frame.id, frame.payload.readUInt32BE());
    }
    return client.isClosed || [...left.keys()].some((id) => room(id) > 0);
  };
  while (left.size > 0) {
    await client.until(look, 'the windows to open');
    if (client.isClosed) throw new Error(`closed; goaway: ${JSON.stringify(client.goAway)}`);
    for (const [id, body] of left) {
      const length = Math.min(room(id), body.length);
      if (length <= 0) continue;
      client.send(data(id, body.subarray(0, length)));
      change(id, -length);
      change(0, -length);
      left.set(id, body.subarray(length));
      if (length === body.length) left.delete(id);
    }
  }
  for (const id of bodies.keys()) client.send(data(id, '', END));
}
