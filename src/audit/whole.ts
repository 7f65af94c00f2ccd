import { parsePointer, placeOf } from './privacy/pointer.ts';

/** A record's bytes, as they are in the log: JSON. */
interface Body {
  readonly input?: Record<string, unknown>;
  /** Path of a part that stands elsewhere, and its SHA-256 as hex. */
  readonly input_parts?: Readonly<Record<string, string>>;
  /** What of the input is not there; see docs/record.schema.json. */
  readonly sealed?: readonly string[];
  readonly masked?: readonly string[];
  readonly mask_failed?: string;
  readonly detail_level?: string;
}

/** The digests of what a record has in common with others, by their paths in its input. */
export const partsOf = (body: Uint8Array): Readonly<Record<string, string>> =>
  (JSON.parse(utf8.decode(body)) as Body).input_parts ?? {};

/**
 * The input that a record's decision was a function of, as JSON text: with the parts that stand beside it, each of which
 * `partOf` finds by its digest. Undefined where the record keeps but a digest of it, a part is not to be had, or a member
 * was kept out, is sealed, or was erased: what is evaluated without it may come to something else.
 */
export function wholeInput(
  body: Uint8Array,
  partOf: (digest: string) => string | undefined,
): string | undefined {
  return JSON.stringify(wholeIn(JSON.parse(utf8.decode(body)), partOf));
}

/** The same of a record that was parsed before, as a value; what is in the record is filled up. */
export function wholeIn(
  parsed: unknown,
  partOf: (digest: string) => string | undefined,
): Record<string, unknown> | undefined {
  const record = parsed as Body;
  if (isPartial(record)) return undefined;
  const { input, missing } = withParts(record, partOf);
  return missing.length === 0 ? input : undefined;
}

/** What of the input a record still has, and JSON Pointers to what it has not; no input where it keeps but a digest. */
export interface InputKept {
  readonly input: Record<string, unknown> | undefined;
  readonly missing: readonly string[];
}

/**
 * The same as far as it goes: what was kept out is told by its path. What stands in the place of a sealed value that cannot
 * be opened is no value of the request's, and is left out.
 */
export function inputKept(body: Uint8Array, partOf: (digest: string) => string | undefined): InputKept {
  const record = JSON.parse(utf8.decode(body)) as Body;
  const { input, missing } = withParts(record, partOf);
  const { sealed = [], masked = [], mask_failed: failed, detail_level: detail } = record;
  for (const path of sealed) placeOf(input, parsePointer(path) ?? [])?.remove();
  const brief = failed === undefined && detail === undefined ? [] : [...BRIEF];
  return { input, missing: [...missing, ...sealed.map((path) => `/input${path}`), ...masked, ...brief] };
}

/** What a record without detail has not (`privacy/masking.ts`). */
const BRIEF = ['/input/context', '/input/*/properties', '/input/*/groups', '/input/*/roles'];

function withParts(
  { input, input_parts: parts = {} }: Body,
  partOf: (digest: string) => string | undefined,
): InputKept {
  const missing: string[] = [];
  for (const [place, digest] of input ? Object.entries(parts) : []) {
    const text = partOf(digest);
    const names = place.split('.');
    const last = names.pop() ?? '';
    if (text === undefined) {
      missing.push(`/input/${place.replaceAll('.', '/')}`);
      continue;
    }
    const within = names.reduce((each, name) => each[name] as Record<string, unknown>, input ?? {});
    within[last] = JSON.parse(text) as unknown;
  }
  return { input, missing };
}

const isPartial = ({ sealed, masked, mask_failed: failed, detail_level: detail }: Body): boolean =>
  [sealed, masked, failed, detail].some((each) => each !== undefined);

const utf8 = new TextDecoder();
