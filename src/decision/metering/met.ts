import type { Manifest } from '../../tenancy/manifest.ts';
import type { Meter } from '../../tenancy/meters-declared.ts';
import { ownValue } from './own-value.ts';

/** A meter that a decision meets. */
export interface Met {
  readonly name: string;
  readonly meter: Meter;
  /** Whether what is allowed counts; else it is but seen. */
  readonly counts: boolean;
  /** Members of authorization details that bound it, by the type of the detail. */
  readonly bounds: readonly { readonly type: string; readonly member: string }[];
}

const NONE: ReadonlyMap<string, readonly Met[]> = new Map();
const made = new WeakMap<Manifest, ReadonlyMap<string, readonly Met[]>>();

/** Whether decisions of the tenant may count. */
export const isMetered = ({ meters }: Manifest): boolean => Object.keys(meters).length > 0;

/** Whether a server that has leases may count all that a decision meets: it counts for each, and each is leased. */
export const isLeasable = (met: readonly Met[]): boolean =>
  met.every(({ counts, meter }) => counts && meter.lease !== undefined);

/** The meters that decisions about an action meet. Undefined for most. */
export function metersMet(manifest: Manifest, action: string): readonly Met[] | undefined {
  let known = made.get(manifest);
  if (!known) {
    known = byAction(manifest);
    made.set(manifest, known);
  }
  return known.get(action);
}

function byAction({ meters, authorization_details: types }: Manifest): ReadonlyMap<string, readonly Met[]> {
  const all = Object.entries(meters);
  if (all.length === 0) return NONE;
  const found = new Map<string, Met[]>();
  for (const [name, meter] of all) {
    const bounds = Object.entries(types).flatMap(([type, { bounds: of }]) =>
      Object.keys(of)
        .filter((member) => ownValue(of, member) === name)
        .map((member) => ({ type, member })),
    );
    for (const action of new Set([...meter.actions, ...meter.seen_by])) {
      const met = { name, meter, counts: meter.actions.includes(action), bounds };
      found.set(action, [...(found.get(action) ?? []), met]);
    }
  }
  return found;
}
