import type { Random } from '../../effects.ts';
import type { NamedRef, TenantId } from '../../ids.ts';
import type { RecordDraft } from '../record.ts';
import { aboutIn } from './about.ts';
import { type Box, IV_BYTES, sealValue } from './box.ts';
import type { SealedMember } from './declared.ts';
import type { MemberKey } from './keys.ts';
import { type Place, parsePointer, placeOf } from './pointer.ts';

/** A value that is to be sealed, and whose it is. */
export interface ToSeal {
  readonly path: string;
  readonly place: Place;
  readonly about: NamedRef | undefined;
}

/** What of an input is declared sealed and there. The places are those of this very input. */
export function toSeal(input: object, declared: readonly SealedMember[]): ToSeal[] {
  return declared.flatMap(({ path, about }) => {
    const place = placeOf(input, parsePointer(path) ?? []);
    return place ? [{ path, place, about: aboutIn(input, about) }] : [];
  });
}

/**
 * The draft of a record in which boxes stand where the values were; `keys` are in the order of `found`, undefined where
 * nobody is named, and then the value is not kept. What authors wrote into reasons may repeat a value in any form, so it
 * is not kept either.
 */
export function sealed(
  draft: RecordDraft,
  tenant: TenantId,
  input: object,
  found: readonly ToSeal[],
  keys: readonly (MemberKey | undefined)[],
  random: Random,
): RecordDraft {
  const values = found.map(({ place: { value } }) => value);
  for (const [at, { path, place }] of found.entries()) {
    const [key, bound] = [keys[at], { tenant, decisionId: draft.decisionId, path }];
    const box: Box = key ? sealValue(place.value, key, bound, random(IV_BYTES)) : { about: null };
    place.replace({ sealed: box });
  }
  const kept = withoutText(draft, textsIn(values));
  const paths = JSON.stringify(found.map(({ path }) => path));
  return { ...kept, members: `,"sealed":${paths}${kept.members}`, input: JSON.stringify(input) };
}

/** What stands in a record for a text that it does not keep, and for a code that is itself a sealed value. */
const NOT_KEPT = 'not kept, as members of the record are sealed';
const SEALED_CODE = 'sealed';

interface Members {
  /** What a policy asks for first: it may repeat a value as its reasons may. */
  readonly challenge?: unknown;
  readonly reasons?: readonly { readonly code: string; readonly message: string }[];
}

function withoutText(draft: RecordDraft, texts: readonly string[]): RecordDraft {
  const { reasons, challenge, ...rest } = JSON.parse(`{${draft.members.slice(1)}}`) as Members;
  if (!reasons?.length && challenge === undefined) return draft;
  const codeOf = (code: string): string => (repeats(code, texts) ? SEALED_CODE : code);
  const kept = (reasons ?? []).map(({ code, message }) => ({
    code: codeOf(code),
    message: message === '' ? '' : NOT_KEPT,
  }));
  return {
    ...draft,
    reason: draft.reason === undefined ? undefined : codeOf(draft.reason),
    members: `,${JSON.stringify({ ...rest, reasons: kept }).slice(1, -1)}`,
  };
}

/** Of more texts than these nobody looks whether a code repeats one: none is kept then. */
const MOST_TEXTS = 2_000;

/** From how many characters on a value is looked for within a code: shorter ones stand in many by chance. */
const LEAST_WITHIN = 4;

const repeats = (code: string, texts: readonly string[]): boolean =>
  texts.length > MOST_TEXTS ||
  texts.some((text) => code === text || (text.length >= LEAST_WITHIN && code.includes(text)));

/** Every string and number in a value, and the names of its members. */
function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return value === '' ? [] : [value];
  if (typeof value === 'number') return [String(value)];
  if (typeof value !== 'object' || value === null) return [];
  const names = Array.isArray(value) ? [] : Object.keys(value);
  return [...names, ...Object.values(value).flatMap(textsIn)];
}
