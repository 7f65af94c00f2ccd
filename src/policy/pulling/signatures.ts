import { createHash, createPublicKey, type KeyObject } from 'node:crypto';
import { compactVerify, decodeProtectedHeader } from 'jose';
import { z } from 'zod';
import { describe, ServiceError } from '../../errors.ts';
import { canonicalised } from '../../tenancy/folder/parser.ts';
import { notTaken } from './refused.ts';

/** What a bundle has to be signed by. */
export interface Verification {
  readonly key: KeyObject;
  /** The one algorithm, whatever the signature itself says. */
  readonly algorithm: string;
  /** What the signature has to be for; empty: for nothing in particular. OPA's `scope`. */
  readonly scope: string;
}

export const SIGNATURES = '.signatures.json';

const ALGORITHMS: Readonly<Record<string, readonly string[]>> = {
  rsa: ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  'ec prime256v1': ['ES256'],
  'ec secp384r1': ['ES384'],
  'ec secp521r1': ['ES512'],
};

/** A public key in PEM, and what it verifies: RS256 of an RSA key where nothing else is said. Throws `config_invalid`. */
export function verificationOf(pem: string, asked: string | undefined, scope: string): Verification {
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch (cause) {
    throw new ServiceError('config_invalid', 'the key of a bundle is no public key in PEM', { cause });
  }
  const { namedCurve = '', modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  const possible = ALGORITHMS[`${key.asymmetricKeyType} ${namedCurve}`.trim()] ?? [];
  const algorithm = asked ?? possible[0];
  if (algorithm === undefined || !possible.includes(algorithm))
    throw new ServiceError(
      'config_invalid',
      `the key of a bundle verifies ${possible.join(', ') || 'none of OPA’s algorithms'}${asked ? `, not ${asked}` : ''}`,
    );
  // RFC 7518 section 3.3.
  if (key.asymmetricKeyType === 'rsa' && modulusLength < 2_048)
    throw new ServiceError('config_invalid', 'an RSA key of less than 2,048 bits verifies nothing');
  return { key, algorithm, scope };
}

/** What OPA calls its own way of signing. */
const OWN_PLUGINS: readonly string[] = ['', '_default'];

const signatures = z.object({
  signatures: z.array(z.string().max(4_000_000)),
  plugin: z.string().optional(),
});
const payload = z.object({
  files: z.array(z.object({ name: z.string(), hash: z.string(), algorithm: z.string() })).max(20_000),
  scope: z.string().optional(),
});

/** OPA has weaker ones too: who can choose a file's content finds another one for the same hash of them. */
const HASHES: Readonly<Record<string, string>> = {
  'SHA-256': 'sha256',
  'SHA-384': 'sha384',
  'SHA-512': 'sha512',
  'SHA-512-256': 'sha512-256',
};

/**
 * What of an archive is signed, which is all of it. OPA signs JSON documents by their value and not by their bytes, so
 * of those the very text that was hashed is answered: no other reader of the bytes can see something else in them.
 * Throws `policy_invalid`.
 */
export async function verified(
  archive: ReadonlyMap<string, Buffer>,
  { key, algorithm, scope }: Verification,
): Promise<Map<string, Buffer>> {
  const all = new Map(archive);
  const kept = all.get(SIGNATURES);
  if (!kept) throw notTaken('it is not signed');
  all.delete(SIGNATURES);
  const said = await payloadOf(kept.toString('utf8'), key, algorithm);
  if ((said.scope ?? '') !== scope) throw notTaken('it is signed for another scope');
  const signed = new Map(said.files.map((file) => [file.name.replace(/^\//, ''), file]));
  if (signed.size !== said.files.length) throw notTaken('its signature names a file twice');
  const taken = new Map<string, Buffer>();
  for (const [name, bytes] of all) {
    const file = signed.get(name);
    if (!file) throw notTaken(`${name} is not signed`);
    const hash = HASHES[file.algorithm];
    if (hash === undefined)
      throw notTaken(`${name} is signed by ${file.algorithm.slice(0, 32)}, which is too weak`);
    const hashed = await hashedForm(name, bytes);
    if (createHash(hash).update(hashed).digest('hex') !== file.hash.toLowerCase())
      throw notTaken(`${name} is not what was signed`);
    taken.set(name, hashed);
    signed.delete(name);
  }
  for (const name of signed.keys()) throw notTaken(`${name} was signed and is not there`);
  return taken;
}

async function payloadOf(text: string, key: KeyObject, algorithm: string): Promise<z.infer<typeof payload>> {
  try {
    const { signatures: tokens, plugin } = signatures.parse(JSON.parse(text));
    const [token, ...others] = tokens;
    // A plugin of OPA's may mean anything.
    if (plugin !== undefined && !OWN_PLUGINS.includes(plugin))
      throw new Error(`a plugin ${plugin.slice(0, 64)} has signed it`);
    if (token === undefined || others.length > 0) throw new Error('there has to be one signature');
    const { alg } = decodeProtectedHeader(token);
    if (alg !== algorithm) throw new Error(`it is by ${String(alg).slice(0, 16)}, not by ${algorithm}`);
    const { payload: bytes } = await compactVerify(token, key, { algorithms: [algorithm] });
    return payload.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
  } catch (error) {
    const why = error instanceof z.ZodError ? 'it is not of OPA’s form' : describe(error);
    throw notTaken(`its signature does not verify: ${why}`);
  }
}

const isYaml = (name: string): boolean => /(?:^|\/)data\.ya?ml$/.test(name);
const isJson = (name: string): boolean => /(?:^|\/)(?:data\.json|\.manifest)$/.test(name);

async function hashedForm(name: string, bytes: Buffer): Promise<Buffer> {
  // There is no one value of YAML that two readers agree on.
  if (isYaml(name))
    throw notTaken(`${name} is YAML, which is not taken signed: opa build makes data.json of it`);
  if (!isJson(name)) return bytes;
  const form = await canonicalised(bytes.toString('utf8'));
  if ('problem' in form) throw notTaken(`${name}: ${form.problem}`);
  return Buffer.from(form.canonical);
}
