import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { fromJson, type JsonObject, type JsonValue } from '@bufbuild/protobuf';
import { parse } from 'yaml';
import { describe, ServiceError } from '../../errors.ts';
import {
  type Issuer,
  IssuerSchema,
  type Principal,
  PrincipalSchema,
} from '../../gen/mandate/v1/tenant_pb.ts';

/** What a tenant.yaml calls otherwise than the API does. */
const statuses: Readonly<Record<string, string>> = {
  active: 'PRINCIPAL_STATUS_ACTIVE',
  disabled: 'PRINCIPAL_STATUS_DISABLED',
  suspended: 'PRINCIPAL_STATUS_SUSPENDED',
};

/** Principals in a file, each as in a tenant.yaml or as `principal show --json` prints it. Throws `invalid_request`. */
export const principalsIn = (file: string): Promise<Principal[]> =>
  messagesIn(file, 'principal', (value) => fromJson(PrincipalSchema, asMessage(value)));

/** Issuers, likewise. */
export const issuersIn = (file: string): Promise<Issuer[]> =>
  messagesIn(file, 'issuer', (value) => {
    if (isObject(value)) return fromJson(IssuerSchema, { ...value, ...claimPaths(value) });
    throw new TypeError('it is no object');
  });

/** A tenant.yaml may name a claim without a list. */
const claimPaths = (value: JsonObject): JsonObject =>
  Object.fromEntries(
    ['groups_claim', 'roles_claim']
      .filter((member) => typeof value[member] === 'string')
      .map((member) => [member, [value[member] as string]]),
  );

/** `-` is standard input; YAML or JSON: one, a list, or the list that a tenant.yaml has. */
async function messagesIn<T>(file: string, what: string, read: (value: unknown) => T): Promise<T[]> {
  const name = file === '-' ? 'standard input' : file;
  const invalid = (problem: string, cause?: unknown): ServiceError =>
    new ServiceError('invalid_request', `${name}: ${problem}`, { cause });
  let value: unknown;
  try {
    const source = file === '-' ? await text(process.stdin) : await readFile(file, 'utf8');
    value = parse(source, { maxAliasCount: 0 });
  } catch (cause) {
    throw invalid(describe(cause).split('\n')[0] ?? '', cause);
  }
  const found = listIn(value, `${what}s`);
  if (found.length === 0) throw invalid(`it holds no ${what}s`);
  return found.map((each, at) => {
    try {
      return read(each);
    } catch (cause) {
      throw invalid(`${what} ${at + 1}: ${describe(cause)}`, cause);
    }
  });
}

function listIn(value: unknown, member: string): unknown[] {
  if (Array.isArray(value)) return value;
  if (!isObject(value)) return [];
  const list = value[member];
  return Array.isArray(list) && Object.keys(value).length === 1 ? list : [value];
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
