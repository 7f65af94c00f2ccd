import { MAX_DEPTH } from '../../../decision/request.ts';
import { ServiceError } from '../../../errors.ts';
import { Unusual, type WireReader } from './reader.ts';

/** google.protobuf.Struct, Value and ListValue, read as JSON values. */
export type Json = Record<string, unknown>;

/** Of a message field that stands twice, protobuf merges both: rare enough to leave to the generated code. */
export function once<T>(before: T | undefined, value: T): T {
  if (before !== undefined) throw new Unusual();
  return value;
}

let depth = 0;

export function readStruct(reader: WireReader): Json {
  const object: Json = {};
  while (reader.more) {
    if (reader.tag() !== 0x0a) throw new Unusual();
    reader.message((entry) => readEntry(entry, object));
  }
  return object;
}

function readEntry(reader: WireReader, object: Json): void {
  let key = '';
  let value: unknown;
  while (reader.more) {
    switch (reader.tag()) {
      case 0x0a:
        key = reader.name();
        break;
      case 0x12:
        value = once(value, reader.message(readValue));
        break;
      default:
        throw new Unusual();
    }
  }
  if (value === undefined || key === '__proto__') throw new Unusual();
  object[key] = value;
}

function readValue(reader: WireReader): unknown {
  let value: unknown;
  while (reader.more) {
    if (value !== undefined) throw new Unusual();
    switch (reader.tag()) {
      case 0x08:
        if (reader.varint() !== 0) throw new Unusual();
        value = null;
        break;
      case 0x11:
        value = reader.double();
        break;
      case 0x1a:
        value = reader.string();
        break;
      case 0x20:
        value = reader.varint() !== 0;
        break;
      case 0x2a:
        value = nested(reader, readStruct);
        break;
      case 0x32:
        value = nested(reader, readList);
        break;
      default:
        throw new Unusual();
    }
  }
  return value;
}

function readList(reader: WireReader): unknown[] {
  const list: unknown[] = [];
  while (reader.more) {
    if (reader.tag() !== 0x0a) throw new Unusual();
    const value = reader.message(readValue);
    if (value === undefined) throw new Unusual();
    list.push(value);
  }
  return list;
}

/** Bounds the recursion; `checkRequest` refuses what is deeper than it allows with its own words. */
function nested<T>(reader: WireReader, read: (reader: WireReader) => T): T {
  if (depth > MAX_DEPTH + 1)
    throw new ServiceError('invalid_request', `properties nest deeper than ${MAX_DEPTH}`);
  depth += 1;
  try {
    return reader.message(read);
  } finally {
    depth -= 1;
  }
}
