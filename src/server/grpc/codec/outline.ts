import { WIRE } from './reader.ts';

/** What of a request is needed to admit its caller, read without reading the rest. */
export interface Outline {
  readonly tenant: string;
  /** Whether the principal is the bearer of a token. */
  readonly token: boolean;
  /** Whether it comes with what main alone knows of: an approval, or a version that the state is to have. */
  readonly special: boolean;
  /** Decisions it asks for. */
  readonly items: number;
}

const TENANT = 0x0a;
const TOKEN = 0x1a;
const ITEM = 0x42;
const APPROVAL = 0x4a;
const AT_LEAST = 0x50;
const REQUEST = 0x12;

/** Of a CheckRequest or CheckBatchRequest. Undefined for one that its writer did not make as most do. */
export function outlineOf(message: Uint8Array, from = 0, to = message.length): Outline | undefined {
  let tenant: string | undefined;
  let token = false;
  let special = false;
  let items = 0;
  const sound = eachField(message, from, to, (tag, start, end) => {
    if (tag === TENANT) {
      // Which of two counts is for the generated code to say.
      if (tenant !== undefined) return false;
      tenant = asciiOf(message, start, end);
      return tenant !== undefined;
    }
    if (tag === TOKEN) token = true;
    else if (tag === APPROVAL || tag === AT_LEAST) special = true;
    else if (tag === ITEM) items += 1;
    return true;
  });
  return sound && tenant !== undefined ? { tenant, token, special, items: Math.max(1, items) } : undefined;
}

/** Of any message whose first field names its tenant: undefined as above. */
export const tenantIn = (message: Uint8Array): string | undefined => outlineOf(message)?.tenant;

/** Of a CheckStreamRequest. */
export function outlineOfStream(message: Uint8Array): Outline | undefined {
  let outline: Outline | undefined;
  const sound = eachField(message, 0, message.length, (tag, start, end) => {
    if (tag !== REQUEST) return true;
    if (outline) return false;
    outline = outlineOf(message, start, end);
    return outline !== undefined;
  });
  return sound ? outline : undefined;
}

/** Steps over the fields; `use` gets the bounds of one with a length, and of another its end. Answers false where anything is unusual. */
function eachField(
  message: Uint8Array,
  from: number,
  to: number,
  use: (tag: number, start: number, end: number) => boolean,
): boolean {
  let at = from;
  /** A varint of at most four bytes; more than a message can hold where it is none. */
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = message[at] ?? 0xff;
      at += 1;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    return Number.MAX_SAFE_INTEGER;
  };
  while (at < to) {
    const tag = message[at] ?? 0xff;
    at += 1;
    if (tag >= 0x80) return false;
    const wire = tag & 7;
    if (wire === WIRE.bytes) {
      const length = varint();
      const start = at;
      at = start + length;
      if (at > to || !use(tag, start, at)) return false;
    } else if (wire === WIRE.varint) {
      let byte = 0x80;
      while (byte >= 0x80 && at < to) byte = message[at++] ?? 0;
      if (byte >= 0x80 || !use(tag, at, at)) return false;
    } else return false;
  }
  return at === to;
}

/** A tenant's id is ASCII; undefined for what is not. */
function asciiOf(message: Uint8Array, start: number, end: number): string | undefined {
  for (let at = start; at < end; at += 1) if ((message[at] ?? 0x80) >= 0x80) return undefined;
  return Buffer.from(message.buffer, message.byteOffset + start, end - start).toString('latin1');
}
