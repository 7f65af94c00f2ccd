/** The shapes that cross between the writer's thread and everybody else: plain data, as the tables hold it. */

import type { GrantId, PrincipalClass } from '../ids.ts';
import type { NameHashes, RecordKind, RecordOutcome } from './log/heads.ts';

/** Names a tenant inside the store. Only the store gives these out. */
export type TenantNo = number & { readonly tenantNo: unique symbol };

/** What finds a record on its way into the log. */
export interface RecordFinder {
  readonly tenantNo: TenantNo;
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly kind: RecordKind;
  readonly outcome: RecordOutcome;
  /** `principalHash` of the subject and of the current actor. */
  readonly subject: number;
  readonly actor: number;
  /** What it names beside them. */
  readonly names: NameHashes;
  /** `shortHash` of who asked. */
  readonly caller: number;
  /** `recordKey` of its decision id. */
  readonly key: number;
}

/** One record on its way into the log. `body` is what counts; the rest only finds it. */
export interface RecordRow extends RecordFinder {
  /** JSON text. Its UTF-8 bytes are the record. */
  readonly body: string;
}

/** What several records have in common, beside them: JSON text, and its SHA-256 as hex. */
export interface SharedPart {
  readonly digest: string;
  readonly body: string;
}

export interface PrincipalRow {
  readonly class: PrincipalClass;
  readonly id: string;
  readonly groups: readonly string[];
  readonly roles: readonly string[];
  readonly scopes: readonly string[];
  readonly properties: Readonly<Record<string, unknown>>;
  /** Absent: a new principal is active, an old one stays as it is. */
  readonly disabled?: boolean | undefined;
  /** JSON: see `tenancy/registration.ts`. Absent where there is nothing to say beside the facts. */
  readonly registration?: string | undefined;
  /** Who answers for it: `user:<id>` or `group:<name>`. */
  readonly owners?: readonly string[] | undefined;
}

/** How a subject signed in, as its token's issuer says: empty where it says nothing. */
export interface Authentication {
  readonly acr?: string;
  readonly amr?: readonly string[];
  /** When it signed in, in seconds since the epoch. */
  readonly auth_time?: number;
  /** What the issuer said of it then, where the tenant has said which claims do. For policies, and for nobody else. */
  readonly groups?: readonly string[];
  readonly roles?: readonly string[];
}

/** How it signed in, without what else the issuer said of it. */
export const signInOf = ({ groups: _groups, roles: _roles, ...signIn }: Authentication) => signIn;

/** What a grant is for: to read, to suggest as well, or to act. */
export type Use = 'read' | 'suggest' | 'act';

/** The task that a grant is part of. */
export interface TaskPart {
  readonly id: GrantId;
  readonly purpose: string;
  readonly endsAt: number;
  /** The part of an agent that joined it: the grant above all that it has of the task. Left out: the agent opened it. */
  readonly node?: GrantId;
  /** How much it may be used for in all. Left out: nothing is said of that. */
  readonly budget?: Budget;
  /** What it was narrowed to since. The grant is narrowed by it already. */
  readonly cap?: TaskCap;
}

/** Meters of the tenant's that count for each task, and how much each may come to. */
export type Budget = Readonly<Record<string, number>>;

/** What a task may be no more than; a member that is not there bounds nothing. Times in milliseconds since the epoch. */
export interface TaskCap {
  /** When it was set, or made tighter. */
  readonly at: number;
  readonly endsAt?: number;
  readonly scopes?: readonly string[];
  readonly use?: Use;
  /** By type of authorization detail and member: the numbers that each such detail is good for at most. */
  readonly details?: Readonly<Record<string, Readonly<Record<string, number>>>>;
  readonly budget?: Budget;
}

export interface GrantRow {
  readonly id: GrantId;
  readonly parentId: GrantId | null;
  /** 1 for a grant that came from an issuer's token, one more for each exchange after it. */
  readonly depth: number;
  readonly subject: { readonly class: PrincipalClass; readonly id: string };
  /** The current actor first (RFC 8693 section 4.1). */
  readonly actors: readonly { readonly class: PrincipalClass; readonly id: string }[];
  readonly scopes: readonly string[];
  readonly use: Use;
  /** RFC 9396: each bounds what the scopes allow, as the tenant's policy reads it. */
  readonly details: readonly { readonly [name: string]: unknown; readonly type: string }[];
  readonly audience: string;
  /** Further ones, of the same principal. */
  readonly moreAudiences: readonly string[];
  /** Who alone may take it on, of whatever comes of it too (RFC 8693 section 4.4). */
  readonly mayAct: { readonly class: PrincipalClass; readonly id: string } | null;
  /** The task it is part of, or is. Times in milliseconds since the epoch. */
  readonly task: TaskPart | null;
  /** RFC 7638 thumbprint of the key that whoever presents its token has to hold (RFC 9449 section 6); null: a bearer's. */
  readonly jkt: string | null;
  /** Thumbprint of the certificate that whoever presents its token has to hold (RFC 8705 section 3.1); null: of none. */
  readonly x5tS256: string | null;
  /** Of the subject, by the token that the first grant came from. */
  readonly authentication: Authentication;
  /** Milliseconds since the epoch, like the two below. */
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** Of the token that the first grant of the chain came from; empty where that is not known. */
  readonly issuer: string;
  /** When it was ended, or one it came from, or whom or what it is of. */
  readonly revokedAt: number | null;
}

/**
 * Whether a grant is a task itself, or an agent's part in one, by which that agent goes on. It has no token.
 */
export const isTaskNode = ({ id, task }: Pick<GrantRow, 'id' | 'task'>): boolean =>
  task !== null && (task.node ?? task.id) === id;

/** Who acts now: the current actor, or the subject for itself. */
export const actingIn = ({ subject, actors }: GrantRow): GrantRow['subject'] => actors[0] ?? subject;

/** RFC 7800: what its token is bound to, as that says (RFC 9449 section 6.1, RFC 8705 section 3.1). */
export type Confirmation = { readonly jkt?: string; readonly 'x5t#S256'?: string };

/** Undefined for a bearer's. */
export function confirmationOf({
  jkt,
  x5tS256,
}: Pick<GrantRow, 'jkt' | 'x5tS256'>): Confirmation | undefined {
  if (jkt === null && x5tS256 === null) return undefined;
  return { ...(jkt !== null && { jkt }), ...(x5tS256 !== null && { 'x5t#S256': x5tS256 }) };
}

export const audiencesOf = ({ audience, moreAudiences }: GrantRow): readonly string[] => [
  audience,
  ...moreAudiences,
];
export type KeyState = 'next' | 'active' | 'retiring' | 'gone';

export interface KeyRow {
  readonly kid: string;
  readonly alg: string;
  readonly publicJwk: string;
  /** The private JWK, encrypted; see `delegation/keys/keys.ts`. Zeros once it signs no more. */
  readonly sealed: Uint8Array;
  /** Milliseconds since the epoch, as below. */
  readonly createdAt: number;
  readonly state: KeyState;
  /** Since when it is in that state. */
  readonly stateAt: number;
}

export interface LogKeyRow {
  /** What the log is called (C2SP tlog-checkpoint), and its key. */
  readonly origin: string;
  /** RFC 8032, 32 bytes; of ML-DSA-44 (FIPS 204) 1,312. */
  readonly publicKey: Uint8Array;
  /** The private JWK, encrypted; see `audit/log-keys.ts`. */
  readonly sealed: Uint8Array;
  readonly createdAt: number;
}

/** The key of what is sealed about somebody. */
export interface MemberKeyRow {
  readonly kid: string;
  /** Whom it is of: a principal, or what a tenant has made one of. */
  readonly class: string;
  readonly name: string;
  /** Encrypted; see `audit/privacy/keys.ts`. Zeros once it is destroyed. */
  readonly sealed: Uint8Array;
  readonly createdAt: number;
}

/** A run of records in one row ends where the next 256 of its log begin, as a tile does (C2SP tlog-tiles). */
export const RUN_RECORDS = 256;

/**
 * What parts the name of a tenant from the number of a log of its that was set aside, since it is damaged and its operator
 * has seen that. No tenant has it in its own name.
 */
export const SET_ASIDE = '~';

/** What parts the name of a tenant from that of the server whose log of the tenant is kept here. In no tenant's name either. */
export const RECEIVED = '@';

const INDEX_SPAN = 2 ** 36;
/** A tenant's number is below it. */
export const TENANT_SPAN = 2 ** 17;

/** The row id of a record: see the schema's note on `runs`. */
export const recordId = (tenantNo: TenantNo, index: number): number => tenantNo * INDEX_SPAN + index;
export const recordIndex = (id: number): number => id % INDEX_SPAN;
export const recordTenant = (id: number): TenantNo => Math.floor(id / INDEX_SPAN) as TenantNo;

/** Throws when the store holds all the tenants that row ids can tell apart. */
export function checkTenantNo(no: number): TenantNo {
  if (!(no > 0 && no < TENANT_SPAN)) throw new RangeError(`tenant number ${no} is out of range`);
  return no as TenantNo;
}
