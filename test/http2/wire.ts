import { Flag, PREFACE, Setting, Type } from '../../src/http2/wire/frames.ts';

/** Frames and header blocks as a client writes them, by hand: nothing here knows what is allowed. */

export type FieldList = readonly (readonly [name: string, value: string])[];

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

export const END = { end: true } as const;
const nameOfType = Object.fromEntries(Object.entries(Type).map(([name, type]) => [type, name]));

/** For messages: `HEADERS:1+end(20)`. */
export const describe = ({ type, flags, id, payload }: Frame): string =>
  `${nameOfType[type] ?? `type ${type}`}:${id}${flags & 1 ? '+end/ack' : ''}(${payload.length})`;

export const uint16 = (value: number): Buffer => Buffer.of(value >>> 8, value & 0xff);
export const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
};

/** RFC 9113 section 4.1; `length` to announce another than there is. */
export function frame(
  type: number,
  flags: number,
  id: number,
  payload: Uint8Array = Buffer.alloc(0),
  length = payload.length,
): Buffer {
  const head = Buffer.of((length >>> 16) & 0xff, (length >>> 8) & 0xff, length & 0xff, type, flags);
  return Buffer.concat([head, uint32(id), payload]);
}

/** RFC 7541 section 5.1. */
export function integer(pattern: number, prefixBits: number, value: number): Buffer {
  const most = 2 ** prefixBits - 1;
  if (value < most) return Buffer.of(pattern | value);
  const bytes = [pattern | most];
  let rest = value - most;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.of(...bytes, rest);
}

/** RFC 7541 section 5.2, without Huffman. */
export const text = (value: string | Uint8Array): Buffer => {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'latin1') : value;
  return Buffer.concat([integer(0, 7, bytes.length), bytes]);
};

export const hpack = {
  /** RFC 7541 section 6.1. */
  indexed: (index: number): Buffer => integer(0x80, 7, index),
  /** Section 6.2.1: it goes to the dynamic table. */
  added: (name: string | number, value: string): Buffer => literal(0x40, 6, name, value),
  /** Section 6.2.2. */
  plain: (name: string | number, value: string): Buffer => literal(0, 4, name, value),
  /** Section 6.2.3. */
  never: (name: string | number, value: string): Buffer => literal(0x10, 4, name, value),
  /** Section 6.3. */
  resize: (size: number): Buffer => integer(0x20, 5, size),
};

function literal(pattern: number, prefixBits: number, name: string | number, value: string): Buffer {
  const isIndex = typeof name === 'number';
  return Buffer.concat([
    integer(pattern, prefixBits, isIndex ? name : 0),
    ...(isIndex ? [] : [text(name)]),
    text(value),
  ]);
}

/** A header block of literals, which leaves the dynamic table as it is. */
export const literals = (fields: FieldList): Buffer =>
  Buffer.concat(fields.map(([name, value]) => hpack.plain(name, value)));

/** The fields of a request; `more` after the pseudo-header fields. */
export const request = (path = '/echo', more: FieldList = [], method = 'POST'): FieldList => [
  [':method', method],
  [':scheme', 'http'],
  [':authority', 'a.test'],
  [':path', path],
  ...more,
];

interface Ends {
  /** With END_STREAM. */
  readonly end?: boolean;
  /** Other flags besides. */
  readonly flags?: number;
}

/** A header section in one frame; of bytes, a header block as it is. */
export const headers = (id: number, fields: FieldList | Uint8Array, { end, flags = 0 }: Ends = {}): Buffer =>
  frame(Type.HEADERS, Flag.END_HEADERS | (end ? Flag.END_STREAM : 0) | flags, id, blockOf(fields));

export const blockOf = (fields: FieldList | Uint8Array): Uint8Array =>
  fields instanceof Uint8Array ? fields : literals(fields);

/** The same in several frames of at most `each` bytes (RFC 9113 section 6.10). */
export function fragmented(
  id: number,
  fields: FieldList | Uint8Array,
  each: number,
  { end }: Ends = {},
): Buffer {
  const block = blockOf(fields);
  const parts: Buffer[] = [];
  for (let at = 0; at === 0 || at < block.length; at += each) {
    const isLast = at + each >= block.length;
    const first = at === 0 ? Type.HEADERS : Type.CONTINUATION;
    const flags = (isLast ? Flag.END_HEADERS : 0) | (at === 0 && end ? Flag.END_STREAM : 0);
    parts.push(frame(first, flags, id, block.subarray(at, at + each)));
  }
  return Buffer.concat(parts);
}

/** `pad` is the length of the padding without the byte that tells it (section 6.1). */
export function data(
  id: number,
  body: string | Uint8Array = '',
  { end, pad }: Ends & { readonly pad?: number } = {},
): Buffer {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  const flags = end ? Flag.END_STREAM : 0;
  if (pad === undefined) return frame(Type.DATA, flags, id, bytes);
  return frame(Type.DATA, flags | Flag.PADDED, id, Buffer.concat([Buffer.of(pad), bytes, Buffer.alloc(pad)]));
}

export type SettingPair = readonly [name: keyof typeof Setting, value: number];

export const settings = (...pairs: SettingPair[]): Buffer =>
  frame(
    Type.SETTINGS,
    0,
    0,
    Buffer.concat(pairs.map(([name, value]) => Buffer.concat([uint16(Setting[name]), uint32(value)]))),
  );
export const settingsAck = (): Buffer => frame(Type.SETTINGS, Flag.ACK, 0);
export const ping = (payload = 'pingping'): Buffer => frame(Type.PING, 0, 0, Buffer.from(payload, 'latin1'));
export const reset = (id: number, code = 8): Buffer => frame(Type.RST_STREAM, 0, id, uint32(code));
export const windowUpdate = (id: number, bytes: number): Buffer =>
  frame(Type.WINDOW_UPDATE, 0, id, uint32(bytes));
export const goAway = (lastId = 0, code = 0): Buffer =>
  frame(Type.GOAWAY, 0, 0, Buffer.concat([uint32(lastId), uint32(code)]));
export const priority = (id: number, dependsOn = 0, weight = 15): Buffer =>
  frame(Type.PRIORITY, 0, id, Buffer.concat([uint32(dependsOn), Buffer.of(weight)]));
export const continuation = (id: number, payload: Uint8Array, isLast = false): Buffer =>
  frame(Type.CONTINUATION, isLast ? Flag.END_HEADERS : 0, id, payload);

/** Section 3.4. */
export const greeting = (...pairs: SettingPair[]): Buffer => Buffer.concat([PREFACE, settings(...pairs)]);

/** Bytes of which none can be missed or come twice unseen. */
export function counted(length: number, seed = 0): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += 1) bytes[at] = Math.imul(at + seed, 0x9e3779b1) >>> 24;
  return bytes;
}

/** A part of a frame: its header announces more than comes. */
export const cutShort = (type: number, flags: number, id: number, announced: number, sent: number): Buffer =>
  frame(type, flags, id, Buffer.alloc(sent), announced);
