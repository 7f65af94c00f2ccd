import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { fromJson, type JsonObject, type JsonValue } from '@bufbuild/protobuf';
import { parse } from 'yaml';
import { describe, ServiceError } from '../../errors.ts';
import { type Principal, PrincipalSchema } from '../../gen/mandate/v1/tenant_pb.ts';

/** What a tenant.yaml calls otherwise than the API does. */
const statuses: Readonly<Record<string, string>> = {
  active: 'PRINCIPAL_STATUS_ACTIVE',
  disabled: 'PRINCIPAL_STATUS_DISABLED',
  suspended: 'PRINCIPAL_STATUS_SUSPENDED',
};

/**
 * Principals in a file (`-` is standard input), YAML or JSON: one, a list, or `principals: […]`, each as in a tenant.yaml or
 * as `principal show --json` prints it. Throws `invalid_request` with what is wrong.
 */
export async function principalsIn(file: string): Promise<Principal[]> {
  const name = file === '-' ? 'standard input' : file;
  const invalid = (what: string, cause?: unknown): ServiceError =>
    new ServiceError('invalid_request', `${name}: ${what}`, { cause });
  let value: unknown;
  try {
    const source = file === '-' ? await text(process.stdin) : await readFile(file, 'utf8');
    value = parse(source, { maxAliasCount: 0 });
  } catch (cause) {
    throw invalid(describe(cause).split('\n')[0] ?? '', cause);
  }
  const found = listIn(value);
  if (found.length === 0) throw invalid('it holds no principals');
  return found.map((each, at) => {
    try {
      return fromJson(PrincipalSchema, asMessage(each));
    } catch (cause) {
      throw invalid(`principal ${at + 1}: ${describe(cause)}`, cause);
    }
  });
}

function listIn(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  if (!isObject(value)) return [];
  return Array.isArray(value['principals']) && Object.keys(value).length === 1
    ? value['principals']
    : [value];
}

/** The API's own form, which refuses what it does not know. */
function asMessage(value: unknown): JsonValue {
  if (!isObject(value)) throw new TypeError('it is no object');
  const { status, may, ...rest } = value;
  return {
    ...rest,
    ...(status !== undefined && {
      status: typeof status === 'string' ? (statuses[status] ?? status) : status,
    }),
    ...(may !== undefined && { may: Array.isArray(may) ? { names: may } : may }),
  };
}

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
