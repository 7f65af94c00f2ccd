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
  const input = wholeIn(JSON.parse(utf8.decode(body)), partOf);
  return input && JSON.stringify(input);
}

/** The same of a record that was parsed before, as a value; what is in the record is filled up. */
export function wholeIn(
  record: unknown,
  partOf: (digest: string) => string | undefined,
): Record<string, unknown> | undefined {
  const { input, input_parts: parts = {}, ...rest } = record as Body;
  if (!input || isPartial(rest)) return undefined;
  for (const [place, digest] of Object.entries(parts)) {
    const text = partOf(digest);
    if (text === undefined) return undefined;
    const names = place.split('.');
    const last = names.pop() ?? '';
    const within = names.reduce((each, name) => each[name] as Record<string, unknown>, input);
    within[last] = JSON.parse(text) as unknown;
  }
  return input;
}

const isPartial = ({ sealed, masked, mask_failed: failed, detail_level: detail }: Body): boolean =>
  [sealed, masked, failed, detail].some((each) => each !== undefined);

const utf8 = new TextDecoder();
