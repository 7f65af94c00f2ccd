import type { TenantId } from '../../ids.ts';
import type { ActivePolicy } from '../active.ts';
import type { PolicyHealth } from '../health.ts';
import { rejectionOf } from './rejections.ts';

/** `degraded`: its policy keeps failing; `stale`: the files on disk, or where it is pulled from, are not what decides. */
export interface PolicyState {
  readonly state: 'ok' | 'degraded' | 'stale';
  /** Empty where it is well. */
  readonly why: string;
}

/** How a tenant's policy is, with the place of what is wrong where that is known. */
export function policyStateOf(
  tenant: TenantId,
  { rejected }: Pick<ActivePolicy, 'rejected'>,
  health: Pick<PolicyHealth, 'degraded'>,
  now: number,
  /** Why it may not be what stands where it is pulled from; empty where nothing is known to be wrong. */
  unpulled = '',
): PolicyState {
  const degraded = health.degraded(tenant, now);
  const [first] = rejected;
  const place = first && first.line > 0 ? ` (${first.file}:${first.line})` : '';
  const stale = first ? rejectionOf(rejected) + place : unpulled;
  const why = [degraded, stale].filter((each) => each !== '').join('; ');
  return { state: degraded !== '' ? 'degraded' : stale !== '' ? 'stale' : 'ok', why };
}
