import { type PrincipalRef, principalKey } from '../../ids.ts';
import type { Connection } from '../database.ts';
import type { TenantNo } from '../rows.ts';

/** What ends grants beside themselves: whom or what they are of. How `ends` names it. */
export type EndName = `principal ${string}` | KillName | CredentialEnd;
/** What is killed until it is restored. A principal is disabled instead. */
export type KillName = `issuer ${string}` | 'tenant';
/** What a credential is, as a digest: one that is killed is known again wherever it stands, and under any id. */
export type CredentialEnd = `credential ${string}`;

export const principalEnd = (ref: PrincipalRef): EndName => `principal ${principalKey(ref)}`;
const ISSUER = 'issuer ';
export const issuerEnd = (issuer: string): KillName => `${ISSUER}${issuer}`;
export const TENANT_END = 'tenant';
export const credentialEnd = (digest: string): CredentialEnd => `credential ${digest}`;

/** The issuer that a name is of; undefined for the tenant. */
export const issuerIn = (name: KillName): string | undefined =>
  name === TENANT_END ? undefined : name.slice(ISSUER.length);

export interface KillRow {
  readonly name: KillName;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

export interface KillStore {
  isKilled(tenantNo: TenantNo, name: KillName | CredentialEnd): boolean;
  /** Whether a grant is kept whose chain began with a token of the issuer. */
  hasGrantsOf(tenantNo: TenantNo, issuer: string): boolean;
  /** Issuers and the tenant. */
  list(tenantNo: TenantNo): KillRow[];
  /** When each was killed, in milliseconds since the epoch. */
  credentials(tenantNo: TenantNo): Map<CredentialEnd, number>;
}

/** SQL, by the index of names: what begins with the word and a space. */
const OF_CREDENTIALS = "name >= 'credential ' AND name < 'credential!'";

/** As it stands in the last commit. */
export function killStore(db: Connection): KillStore {
  const find = db
    .prepare<[number, string], 1>('SELECT 1 FROM ends WHERE tenant_no = ? AND name = ? AND is_killed = 1')
    .pluck();
  const granted = db
    .prepare<[number, string], 1>('SELECT 1 FROM grants WHERE tenant_no = ? AND issuer = ? LIMIT 1')
    .pluck();
  const list = db.prepare<[number], KillRow>(
    `SELECT name, at FROM ends WHERE tenant_no = ? AND is_killed = 1 AND NOT (${OF_CREDENTIALS}) ORDER BY name`,
  );
  const credentials = db.prepare<[number], { name: CredentialEnd; at: number }>(
    `SELECT name, at FROM ends WHERE tenant_no = ? AND is_killed = 1 AND ${OF_CREDENTIALS}`,
  );
  return {
    isKilled: (no, name) => find.get(no, name) !== undefined,
    hasGrantsOf: (no, issuer) => granted.get(no, issuer) !== undefined,
    list: (no) => list.all(no),
    credentials: (no) => new Map(credentials.all(no).map(({ name, at }) => [name, at])),
  };
}
