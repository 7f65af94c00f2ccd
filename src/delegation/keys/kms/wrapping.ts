import { describe, ServiceError } from '../../../errors.ts';
import { type Envelope, envelopeOf, isKeyOf, parseEnvelope } from './envelope.ts';
import { type Kms, MOST_AT_ONCE, type Unwrapped } from './kms.ts';

/** A key as it is stored, with what it is bound to. */
export interface Stored {
  readonly sealed: Uint8Array;
  readonly binding: string;
}

/**
 * As envelopes, in the order of the keys. Each is unwrapped before it counts: what the service could not open again is not
 * kept. Rejects with `unavailable`.
 */
export async function wrapAll(kms: Kms, keys: readonly Unwrapped[]): Promise<Uint8Array[]> {
  const envelopes: Uint8Array[] = [];
  for (let at = 0; at < keys.length; at += MOST_AT_ONCE) {
    const some = keys.slice(at, at + MOST_AT_ONCE);
    const wrapped = await kms.wrap(some);
    const made = some.map(({ key, binding }, index) => ({
      sealed: envelopeOf(kms.name, wrapped[index] ?? '', key, binding),
      binding,
    }));
    for (const opened of await unwrapAll(kms, made))
      if (typeof opened === 'string')
        throw new ServiceError('unavailable', 'the KMS does not answer as it should', { detail: opened });
    envelopes.push(...made.map(({ sealed }) => sealed));
  }
  return envelopes;
}

/** The keys, or why they cannot be had. After a request that failed none is made for those that follow. */
export async function unwrapAll(kms: Kms, stored: readonly Stored[]): Promise<(Uint8Array | string)[]> {
  const answers: (Uint8Array | string)[] = [];
  let down: string | undefined;
  for (let at = 0; at < stored.length; at += MOST_AT_ONCE) {
    const some = stored
      .slice(at, at + MOST_AT_ONCE)
      .map((each) => ({ ...each, envelope: envelopeIn(kms, each) }));
    const asked = some.flatMap(({ envelope, binding }) =>
      typeof envelope === 'string' ? [] : [{ wrapped: envelope.wrapped, binding }],
    );
    let keys: readonly (Uint8Array | Error)[] = [];
    if (down === undefined && asked.length > 0)
      keys = await kms.unwrap(asked).catch((error: unknown) => {
        down = detailOf(error);
        return [];
      });
    const left = [...keys];
    for (const { envelope, binding } of some)
      answers.push(
        typeof envelope === 'string' ? envelope : checked(kms, envelope, binding, left.shift(), down),
      );
  }
  return answers;
}

function checked(
  kms: Kms,
  envelope: Envelope,
  binding: string,
  key: Uint8Array | Error | undefined,
  down: string | undefined,
): Uint8Array | string {
  if (key === undefined) return down ?? `${kms.name} answers fewer keys than it was asked for`;
  if (key instanceof Error) return key.message;
  return isKeyOf(envelope, key, binding) ? key : `${kms.name} answers another key than the one it wrapped`;
}

function envelopeIn(kms: Kms, { sealed }: Stored): Envelope | string {
  try {
    const envelope = parseEnvelope(sealed);
    return envelope.kms === kms.name
      ? envelope
      : `it is wrapped by ${envelope.kms}, and kms names ${kms.name}`;
  } catch {
    return 'what is stored of it is damaged';
  }
}

const detailOf = (error: unknown): string =>
  (error instanceof ServiceError ? error.detail : undefined) ?? describe(error);
