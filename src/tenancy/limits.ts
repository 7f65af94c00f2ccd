import type { Manifest } from './manifest.ts';

export type Limits = Manifest['limits'];

/** The most that any tenant may have, by the operator's configuration. Left out: no bound. */
export type TenantLimits = { readonly [Name in keyof Limits]-?: number | undefined };

/**
 * What a tenant has: what it asks for in its manifest, but no more than the operator lets any have; where it asks for
 * nothing, as much as that where it is a rate or a share, and the server's own where it is a budget of an evaluation.
 */
export function limitsOf(asked: Limits, most: TenantLimits): Limits {
  const least = (name: keyof Limits): number | undefined => {
    const bounds = [asked[name], most[name]].filter((bound) => bound !== undefined);
    return bounds.length === 0 ? undefined : Math.min(...bounds);
  };
  const budget = (name: 'fuel' | 'memory_mib'): number | undefined =>
    asked[name] === undefined ? undefined : least(name);
  return {
    fuel: budget('fuel'),
    memory_mib: budget('memory_mib'),
    decisions_per_second: least('decisions_per_second'),
    record_bytes_per_second: least('record_bytes_per_second'),
    store_bytes: least('store_bytes'),
  };
}
