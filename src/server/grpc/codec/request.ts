import { fromBinary } from '@bufbuild/protobuf';
import type { UncheckedRequest } from '../../../decision/request.ts';
import { ServiceError } from '../../../errors.ts';
import {
  CheckBatchRequestSchema,
  CheckRequestSchema,
  CheckStreamRequestSchema,
} from '../../../gen/mandate/v1/decision_pb.ts';
import type { AskedBatch } from '../../connect/decision.ts';
import { batchOf, requestOf } from '../../connect/messages.ts';
import { Unusual, WireReader } from './reader.ts';
import { type Json, once, readStruct } from './struct.ts';

/** A CheckRequest as the core takes it. */
export interface Asked {
  readonly tenant: string;
  readonly request: UncheckedRequest;
}

/** Decodes a CheckRequest. Throws `invalid_request`. */
export function decodeCheck(bytes: Uint8Array): Asked {
  try {
    return readCheck(new WireReader(bytes));
  } catch (error) {
    if (!(error instanceof Unusual)) throw error;
    const message = parsed(() => fromBinary(CheckRequestSchema, bytes), 'CheckRequest');
    return { tenant: message.tenant, request: requestOf(message) };
  }
}

/** Decodes a CheckStreamRequest. Throws `invalid_request`. */
export function decodeStreamCheck(bytes: Uint8Array): {
  correlationId: bigint | number;
  asked: Asked | undefined;
} {
  try {
    return readStreamCheck(new WireReader(bytes));
  } catch (error) {
    if (!(error instanceof Unusual)) throw error;
    const { correlationId, request } = parsed(
      () => fromBinary(CheckStreamRequestSchema, bytes),
      'CheckStreamRequest',
    );
    return { correlationId, asked: request && { tenant: request.tenant, request: requestOf(request) } };
  }
}

/** Decodes a CheckBatchRequest. Throws `invalid_request`. */
export function decodeBatch(bytes: Uint8Array): AskedBatch {
  try {
    return readBatch(new WireReader(bytes));
  } catch (error) {
    if (!(error instanceof Unusual)) throw error;
    return batchOf(parsed(() => fromBinary(CheckBatchRequestSchema, bytes), 'CheckBatchRequest'));
  }
}

/** Runs a decoder of generated code. Throws `invalid_request` with its error as the cause. */
export function parsed<T>(decode: () => T, name: string): T {
  try {
    return decode();
  } catch (cause) {
    throw new ServiceError('invalid_request', `the message is not a ${name}`, { cause });
  }
}

interface Draft {
  subject?: NonNullable<UncheckedRequest['subject']>;
  token?: string;
  action?: NonNullable<UncheckedRequest['action']>;
  resource?: NonNullable<UncheckedRequest['resource']>;
  context?: Json;
  audience?: string;
}

// Tags are `number << 3 | wire type`; 2 is length-delimited.
function readCheck(reader: WireReader): Asked {
  const asked: Common = { tenant: '', request: {}, principals: 0 };
  while (reader.more) readCommon(reader, reader.tag(), asked);
  return asked;
}

/** The members that a CheckRequest and a CheckBatchRequest share. */
interface Common {
  tenant: string;
  readonly request: Draft;
  /** How many members of the oneof were read. */
  principals: number;
}

function readCommon(reader: WireReader, tag: number, asked: Common): void {
  const { request } = asked;
  switch (tag) {
    case 0x0a:
      asked.tenant = reader.name();
      break;
    case 0x12:
      onlyPrincipal(asked);
      request.subject = reader.message(readNamed);
      break;
    case 0x1a:
      onlyPrincipal(asked);
      request.token = reader.string();
      break;
    case 0x22:
      request.action = once(request.action, reader.message(readAction));
      break;
    case 0x2a:
      request.resource = once(request.resource, reader.message(readNamed));
      break;
    case 0x32:
      request.context = once(request.context, reader.message(readStruct));
      break;
    case 0x3a:
      request.audience = reader.string();
      break;
    default:
      throw new Unusual();
  }
}

function onlyPrincipal(asked: Common): void {
  if (asked.principals > 0) throw new Unusual();
  asked.principals += 1;
}

function readBatch(reader: WireReader): AskedBatch {
  const asked: Common = { tenant: '', request: {}, principals: 0 };
  const items: AskedBatch['items'][number][] = [];
  let semantic = 0;
  while (reader.more) {
    const tag = reader.tag();
    if (tag === 0x42) items.push(reader.message(readItem));
    else if (tag === 0x48) semantic = reader.varint();
    else readCommon(reader, tag, asked);
  }
  return { tenant: asked.tenant, defaults: asked.request, items, semantic };
}

function readItem(reader: WireReader): AskedBatch['items'][number] {
  const item: Omit<Draft, 'token' | 'audience'> = {};
  while (reader.more) {
    switch (reader.tag()) {
      case 0x0a:
        item.subject = once(item.subject, reader.message(readNamed));
        break;
      case 0x12:
        item.action = once(item.action, reader.message(readAction));
        break;
      case 0x1a:
        item.resource = once(item.resource, reader.message(readNamed));
        break;
      case 0x22:
        item.context = once(item.context, reader.message(readStruct));
        break;
      default:
        throw new Unusual();
    }
  }
  return item;
}

function readStreamCheck(reader: WireReader): { correlationId: number; asked: Asked | undefined } {
  let correlationId = 0;
  let asked: Asked | undefined;
  while (reader.more) {
    switch (reader.tag()) {
      case 0x08:
        correlationId = reader.varint();
        break;
      case 0x12:
        asked = once(asked, reader.message(readCheck));
        break;
      default:
        throw new Unusual();
    }
  }
  return { correlationId, asked };
}

/** Subject and Resource: type, id, properties. */
function readNamed(reader: WireReader): { type: string; id: string; properties?: Json } {
  const named: { type: string; id: string; properties?: Json } = { type: '', id: '' };
  while (reader.more) {
    switch (reader.tag()) {
      case 0x0a:
        named.type = reader.name();
        break;
      case 0x12:
        named.id = reader.string();
        break;
      case 0x1a:
        named.properties = once(named.properties, reader.message(readStruct));
        break;
      default:
        throw new Unusual();
    }
  }
  return named;
}

function readAction(reader: WireReader): { name: string; properties?: Json } {
  const action: { name: string; properties?: Json } = { name: '' };
  while (reader.more) {
    switch (reader.tag()) {
      case 0x0a:
        action.name = reader.name();
        break;
      case 0x12:
        action.properties = once(action.properties, reader.message(readStruct));
        break;
      default:
        throw new Unusual();
    }
  }
  return action;
}
