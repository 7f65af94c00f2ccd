import type { Socket } from 'node:net';
import { PREFACE } from '../../http2/wire/frames.ts';

const TIMEOUT_MS = 10_000;

/**
 * Reads until the first bytes tell the protocol, then gives them back and hands the socket on. One that has not told in
 * time is ended.
 */
export function sniff(socket: Socket, told: (isHttp2: boolean) => void): void {
  const timer = setTimeout(() => socket.destroy(), TIMEOUT_MS);
  const onError = (): void => void socket.destroy();
  const settle = (): void => clearTimeout(timer);
  socket.on('error', onError);
  socket.once('close', settle);
  let head: Buffer = Buffer.alloc(0);
  const onReadable = (): void => {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) return;
    head = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
    const length = Math.min(head.length, PREFACE.length);
    const isPreface = head.subarray(0, length).equals(PREFACE.subarray(0, length));
    if (isPreface && head.length < PREFACE.length) return;
    socket.off('readable', onReadable);
    socket.off('error', onError);
    settle();
    socket.unshift(head);
    told(isPreface);
  };
  socket.on('readable', onReadable);
}
