import type { Clock, Random } from '../effects.ts';
import { uuidv7 } from '../ids.ts';
import type { RecordRow, TenantNo } from '../storage/rows.ts';
import { buildRecord } from './record.ts';

/** Who did what nobody asked for. */
export const SERVER = 'server';

/** What the server did by itself, in the log of a tenant. */
export interface OwnDeed {
  readonly tenantNo: TenantNo;
  readonly kind: 'server' | 'key';
  readonly action: string;
  readonly resource: { readonly type: string; readonly id: string };
  /** Who asked for it, where somebody did. */
  readonly caller?: string;
  /** Of the policy that decides; empty where that is beside the point. */
  readonly revision?: string;
  readonly detail: Readonly<Record<string, unknown>>;
}

/** That a key was made: `id` is its key id, or the verifier key of a log. */
export const keyMade = (
  tenantNo: TenantNo,
  id: string,
  use: 'tokens' | 'log',
  algorithm: string,
): OwnDeed => ({
  tenantNo,
  kind: 'key',
  action: 'key.create',
  resource: { type: 'key', id },
  detail: { use, algorithm },
});

/** What became of a key that signs tokens. */
export interface KeyDeed {
  readonly tenantNo: TenantNo;
  readonly action: 'key.create' | 'key.activate' | 'key.remove' | 'key.replace';
  readonly id: string;
  readonly algorithm: string;
  readonly caller: string;
  /** Beside what it is for, and its algorithm. */
  readonly detail: Readonly<Record<string, unknown>>;
}

export function keyRow({ id, algorithm, detail, ...deed }: KeyDeed, clock: Clock, random: Random): RecordRow {
  const resource = { type: 'key', id };
  const whole = { use: 'tokens', algorithm, ...detail };
  return ownRecord({ ...deed, kind: 'key', resource, detail: whole }, clock, random);
}

export function ownRecord(deed: OwnDeed, clock: Clock, random: Random): RecordRow {
  const { tenantNo, kind, action, resource, caller = SERVER, revision = '', detail } = deed;
  const now = clock();
  return buildRecord({
    tenantNo,
    time: now,
    kind,
    outcome: 'done',
    decisionId: uuidv7(now, random(10)),
    caller,
    subject: undefined,
    actor: undefined,
    revision,
    members: `${revision === '' ? '' : `,"revision":"${revision}"`},"detail":${JSON.stringify(detail)}`,
    input: JSON.stringify({ subject: null, action: { name: action }, resource }),
  });
}
