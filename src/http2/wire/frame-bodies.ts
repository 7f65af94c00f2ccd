import { ConnectionError, ErrorCode } from '../errors.ts';
import { Flag, uint31 } from './frames.ts';

/** The bodies of frames, `bytes[from, to)`, checked by themselves (RFC 9113 section 6). All throw ConnectionError. */

/** Section 6.1: without the padding, which is less than the frame. */
export function unpadded(flags: number, bytes: Buffer, from: number, to: number): [from: number, to: number] {
  if (!(flags & Flag.PADDED)) return [from, to];
  const padding = from < to ? (bytes[from] as number) : to;
  if (from + 1 + padding > to) throw protocol('more padding than there is frame');
  return [from + 1, to - padding];
}

export interface HeadersBody {
  readonly from: number;
  readonly to: number;
  /** Section 5.3.1 of RFC 7540: it depends on itself, which it cannot. */
  readonly isOwnParent: boolean;
}

/** Section 6.2. */
export function readHeaders(flags: number, id: number, bytes: Buffer, from: number, to: number): HeadersBody {
  if (id % 2 === 0) throw protocol('a stream with an even number, or none');
  const [start, end] = unpadded(flags, bytes, from, to);
  if (!(flags & Flag.PRIORITY)) return { from: start, to: end, isOwnParent: false };
  if (end - start < 5) throw size('HEADERS');
  return { from: start + 5, to: end, isOwnParent: uint31(bytes, start) === id };
}

/** Section 6.3: checked, and of no consequence. */
export function checkPriority(id: number, bytes: Buffer, from: number, to: number): void {
  if (id === 0) throw protocol('PRIORITY without a stream');
  if (to - from !== 5) throw size('PRIORITY');
  if (uint31(bytes, from) === id) throw protocol('a stream that depends on itself');
}

/** Section 6.5. Answers whether it acknowledges. */
export function checkSettings(flags: number, id: number, from: number, to: number): boolean {
  if (id !== 0) throw protocol('SETTINGS on a stream');
  const isAcknowledgement = (flags & Flag.ACK) !== 0;
  if (isAcknowledgement ? to !== from : (to - from) % 6 !== 0) throw size('SETTINGS');
  return isAcknowledgement;
}

/** Section 6.7. */
export function checkPing(id: number, from: number, to: number): void {
  if (id !== 0) throw protocol('PING on a stream');
  if (to - from !== 8) throw size('PING');
}

/** Section 6.8. */
export function checkGoAway(id: number, from: number, to: number): void {
  if (id !== 0) throw protocol('GOAWAY on a stream');
  if (to - from < 8) throw size('GOAWAY');
}

/** Section 6.9. */
export function readWindowUpdate(bytes: Buffer, from: number, to: number): number {
  if (to - from !== 4) throw size('WINDOW_UPDATE');
  return uint31(bytes, from);
}

export const protocol = (reason: string): ConnectionError =>
  new ConnectionError(ErrorCode.PROTOCOL_ERROR, reason);

export const size = (frame: string): ConnectionError =>
  new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, `${frame} of a length that it does not have`);
