import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Box, openValue } from './box.ts';
import type { KeyHolder, MemberKeys } from './keys.ts';
import { parsePointer, placeOf } from './pointer.ts';

/** What stands in an opened record in the place of a value that is not to be had. */
type Closed = { readonly about: string | null } & (
  | { readonly erased: true }
  /** Nobody was named whose key could have sealed it. */
  | { readonly kept: false }
  /** A fault: its key is not there, or does not open it. */
  | { readonly unreadable: true }
);

interface Body {
  readonly decision_id: string;
  sealed?: readonly string[];
  readonly input?: unknown;
}

/**
 * A record's JSON with its sealed members in the clear, for who may read it; undefined where it has none. Its member `sealed`
 * names those that stay closed. Only where the record itself says that there is a box one is looked for: a caller may
 * send what looks like one.
 */
export function opened(
  keys: Pick<MemberKeys, 'find'>,
  tenant: KeyHolder,
  body: Uint8Array,
): Uint8Array | undefined {
  if (!Buffer.from(body.buffer, body.byteOffset, body.byteLength).includes(SEALED)) return undefined;
  const record = JSON.parse(utf8.decode(body)) as Body;
  if (!record.sealed?.length) return undefined;
  const closed = record.sealed.filter((path) => {
    const place = placeOf(record.input, parsePointer(path) ?? []);
    const { sealed: box } = (place?.value ?? {}) as { sealed?: Box };
    if (!place || !box) return false;
    const found = valueOf(keys, tenant, { tenant: tenant.id, decisionId: record.decision_id, path }, box);
    place.replace('value' in found ? found.value : { sealed: found });
    return !('value' in found);
  });
  const { sealed: _, ...rest } = record;
  return Buffer.from(JSON.stringify(closed.length > 0 ? { ...rest, sealed: closed } : rest));
}

/** How many are opened before others get their turn: some three milliseconds' worth. */
const SLICE = 64;

/** The same of a page of records. */
export async function allOpened(
  keys: Pick<MemberKeys, 'find'>,
  tenant: KeyHolder,
  records: readonly { readonly body: Uint8Array }[],
): Promise<(Uint8Array | undefined)[]> {
  const all: (Uint8Array | undefined)[] = [];
  let count = 0;
  for (const { body } of records) {
    const clear = opened(keys, tenant, body);
    all.push(clear);
    if (clear) count += 1;
    if (clear && count % SLICE === 0) await nextTurn();
  }
  return all;
}

/** A record that has none is not parsed once more. */
const SEALED = '"sealed":["/';
const utf8 = new TextDecoder();

function valueOf(
  keys: Pick<MemberKeys, 'find'>,
  tenant: KeyHolder,
  place: Parameters<typeof openValue>[2],
  box: Box,
): { readonly value: unknown } | Closed {
  const { about } = box;
  if (box.key === undefined) return { about, kept: false };
  try {
    const key = keys.find(tenant, box.key);
    if (key === 'destroyed') return { about, erased: true };
    return key ? { value: openValue(box, key, place) } : { about, unreadable: true };
  } catch {
    // Who found a fault in the store has reported it; the rest of the record is read on.
    return { about, unreadable: true };
  }
}
