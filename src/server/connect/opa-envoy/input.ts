import type { DescField } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import {
  type CheckRequest,
  CheckRequestSchema,
} from '../../../gen/envoy/service/auth/v3/external_auth_pb.ts';
import { isSecret } from '../envoy-headers.ts';
import { bodyOf } from './body.ts';
import { pairsIn, unescaped } from './escaped.ts';

/** Numbers by their text, which the types of the language do not have yet. */
const { rawJSON } = JSON as unknown as { rawJSON: (text: string) => unknown };

/**
 * The input of opa-envoy-plugin (`RequestToInput`): what Envoy asks by the names of its JSON, enumerations and 64-bit
 * integers as numbers, bytes in base64, and only what is set; beside it what the plugin makes of address and body. Throws
 * `Unreadable`.
 */
export function opaInput(request: CheckRequest): Record<string, unknown> {
  const { attributes } = request;
  const http = attributes?.request?.http;
  const path = http?.path ?? '';
  const mark = path.indexOf('?');
  const [rawPath, query] = mark < 0 ? [path, ''] : [path.slice(0, mark), path.slice(mark + 1)];
  const parsedPath = unescaped(rawPath, 'the path').replace(/^\/+/, '').split('/');
  const principal = attributes?.source?.principal ?? '';
  return {
    ...membersOf(reflect(CheckRequestSchema, request)),
    version: { ext_authz: 'v3', encoding: 'protojson' },
    parsed_path: parsedPath,
    parsed_query: pairsIn(query, 'the query'),
    ...bodyOf({
      headers: http?.headers ?? {},
      body: http?.body ?? '',
      rawBody: http?.rawBody ?? new Uint8Array(),
    }),
    ...(principal === '' ? {} : { source_principal: principal }),
  };
}

const IN_RECORD = '/input/data_input/attributes/request/http';

/** Where in the record of such an input credentials stand, as JSON Pointers: they are for the policy alone. */
export function secretsIn({ attributes }: CheckRequest): string[] {
  const http = attributes?.request?.http;
  const names = Object.keys(http?.headers ?? {}).filter(isSecret);
  const inMap = (http?.headerMap?.headers ?? []).flatMap(({ key, rawValue }, at) =>
    isSecret(key)
      ? [`${IN_RECORD}/headerMap/headers/${at}/${rawValue.length > 0 ? 'rawValue' : 'value'}`]
      : [],
  );
  // So many are no request of a browser's, and of which none is the last word.
  if (inMap.length > 32) return [`${IN_RECORD}/headers`, `${IN_RECORD}/headerMap`];
  return [...names.map((name) => `${IN_RECORD}/headers/${name}`), ...inMap];
}

function membersOf(message: ReflectMessage): Record<string, unknown> {
  const members: Record<string, unknown> = {};
  for (const field of message.fields)
    if (message.isSet(field)) members[field.jsonName] = valueOf(message, field);
  return members;
}

const STRUCT = 'google.protobuf.Struct';

function valueOf(message: ReflectMessage, field: DescField): unknown {
  switch (field.fieldKind) {
    case 'message':
      return membersOf(message.get(field));
    case 'list':
      return [...message.get(field)].map(one);
    case 'map': {
      // It is JSON already.
      if (field.mapKind === 'message' && field.message.typeName === STRUCT)
        return (message.message as unknown as Record<string, unknown>)[field.localName];
      const members = Object.create(null) as Record<string, unknown>;
      for (const [name, value] of message.get(field)) members[String(name)] = one(value);
      return members;
    }
    default:
      return one(message.get(field));
  }
}

function one(value: unknown): unknown {
  if (typeof value === 'bigint') return rawJSON(String(value));
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  return typeof value === 'object' && value !== null ? membersOf(value as ReflectMessage) : value;
}
