import { BuiltinError } from '../builtin.ts';
import { DerReader, integerOf, tag } from './der.ts';

/** Go's numbers of signature algorithms, by their identifiers. */
const algorithms: Readonly<Record<string, number>> = {
  '1.2.840.113549.1.1.4': 2,
  '1.2.840.113549.1.1.5': 3,
  '1.3.14.3.2.29': 3,
  '1.2.840.113549.1.1.11': 4,
  '1.2.840.113549.1.1.12': 5,
  '1.2.840.113549.1.1.13': 6,
  '1.2.840.10040.4.3': 7,
  '2.16.840.1.101.3.4.3.2': 8,
  '1.2.840.10045.4.1': 9,
  '1.2.840.10045.4.3.2': 10,
  '1.2.840.10045.4.3.3': 11,
  '1.2.840.10045.4.3.4': 12,
};

/** RSA-PSS says the rest in its parameters: of each hash one form is known. */
const pssHashes: Readonly<Record<string, { readonly number: number; readonly salt: bigint }>> = {
  '2.16.840.1.101.3.4.2.1': { number: 13, salt: 32n },
  '2.16.840.1.101.3.4.2.2': { number: 14, salt: 48n },
  '2.16.840.1.101.3.4.2.3': { number: 15, salt: 64n },
};

/** 0 for one that Go does not know. @param content an AlgorithmIdentifier without its tag */
export function signatureAlgorithmOf(content: Buffer): number {
  const reader = new DerReader(content);
  const identifier = reader.identifier().join('.');
  const parameters = reader.isEmpty ? undefined : reader.read().whole;
  if (identifier === '1.3.101.112') return parameters ? 0 : 16;
  if (identifier === '1.2.840.113549.1.1.10') return pssOf(parameters);
  return algorithms[identifier] ?? 0;
}

function pssOf(parameters: Buffer | undefined): number {
  try {
    const reader = new DerReader(parameters ?? Buffer.alloc(0)).enter(tag.sequence);
    const hash = hashOf(reader.enter(0xa0).enter(tag.sequence));
    const mask = reader.enter(0xa1).enter(tag.sequence);
    if (mask.identifier().join('.') !== '1.2.840.113549.1.1.8' || hashOf(mask.enter(tag.sequence)) !== hash)
      return 0;
    const salt = integerOf(reader.enter(0xa2).read(tag.integer).content);
    const trailer = reader.optional(0xa3);
    if (trailer && new DerReader(trailer.content).integer() !== 1n) return 0;
    const known = pssHashes[hash];
    return known?.salt === salt ? known.number : 0;
  } catch (error) {
    if (error instanceof BuiltinError) return 0;
    throw error;
  }
}

function hashOf(reader: DerReader): string {
  const identifier = reader.identifier().join('.');
  if (!reader.isEmpty && !reader.read().whole.equals(Buffer.of(5, 0))) throw new BuiltinError('not NULL');
  return identifier;
}
