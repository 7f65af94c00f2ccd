import { type Pointer, parsePointer, placeOf, pointerText } from '../../audit/privacy/pointer.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { JsonObject } from '../request.ts';

/** What the package `approval` was asked, as its record keeps it. */
export interface AskedOfApproval {
  readonly input: JsonObject;
  /** JSON Pointers to what it was asked with and the record does not have. */
  readonly missing: readonly string[];
}

/** A record has room for that, and for what else it says. What is longer is not kept, and not explained. */
const MAX_KEPT_BYTES = 40_960;

/** What tells more of people than their names, kept out where the tenant says by a rule what is. */
const TELLING = ['properties', 'groups', 'roles'];

/**
 * The input as far as its tenant lets a record have it. What is sealed elsewhere is left out here. A rule of the tenant's
 * that masks records knows nothing of this input: where there is one, nothing is kept that it could have meant.
 */
export function askedOf(
  { manifest }: Tenant,
  asked: JsonObject,
  masks: boolean,
): AskedOfApproval | undefined {
  const input = structuredClone(asked);
  const missing: string[] = [];
  const remove = (pointer: Pointer): void => {
    const place = placeOf(input, pointer);
    if (!place) return;
    place.remove();
    missing.push(pointerText(pointer));
  };
  for (const { path } of manifest.audit.sealed)
    for (const place of placesOf(parsePointer(path) ?? [])) remove(place);
  if (masks) for (const place of telling(input)) remove(place);
  return Buffer.byteLength(JSON.stringify(input)) > MAX_KEPT_BYTES ? undefined : { input, missing };
}

/** Of a member of a decision's input, where the same stands of the request, and of whoever decides it. */
function placesOf(pointer: Pointer): Pointer[] {
  const [first, ...rest] = pointer;
  if (first === 'subject')
    return [
      ['request', ...pointer],
      ['approver', ...rest],
    ];
  if (first === 'actors')
    return [
      ['request', ...pointer],
      ['approver', ...rest.slice(1)],
    ];
  return [];
}

function telling({ request }: JsonObject): Pointer[] {
  const { actors = [] } = (request ?? {}) as { actors?: readonly unknown[] };
  const people: Pointer[] = [
    ['approver'],
    ['request', 'subject'],
    ...actors.map((_, at) => ['request', 'actors', String(at)]),
  ];
  return [
    ...people.flatMap((each) => TELLING.map((name) => [...each, name])),
    ['request', 'stated'],
    ['request', 'context'],
    ['request', 'action', 'properties'],
    ['request', 'resource', 'properties'],
    ['request', 'grant', 'authorization_details'],
  ];
}
