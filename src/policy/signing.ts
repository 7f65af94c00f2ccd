import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { ServiceError } from '../errors.ts';
import { type BundleFile, packed, SIGNATURES } from './exported.ts';
import { confined } from './opa/child.ts';

/** OPA's names for the algorithms of keys, by type and curve. */
const ALGORITHMS: Readonly<Record<string, string>> = {
  rsa: 'RS256',
  'ec prime256v1': 'ES256',
  'ec secp384r1': 'ES384',
};

/** What OPA signs and verifies with by a key; undefined where it does not. */
export const algorithmOf = ({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): string | undefined =>
  ALGORITHMS[`${asymmetricKeyType} ${asymmetricKeyDetails?.namedCurve ?? ''}`.trim()];

/** A private key in PEM. Throws `invalid_request` for another, or for one that OPA does not sign with. */
export function signingKey(pem: string): { readonly key: KeyObject; readonly algorithm: string } {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (cause) {
    throw new ServiceError(
      'invalid_request',
      'the signing key is no private key in PEM without a passphrase',
      {
        cause,
      },
    );
  }
  const { modulusLength = 0 } = key.asymmetricKeyDetails ?? {};
  const algorithm = algorithmOf(key);
  if (algorithm === undefined)
    throw new ServiceError('invalid_request', 'a bundle is signed with an RSA, P-256 or P-384 key');
  // RFC 7518 section 3.3.
  if (algorithm === 'RS256' && modulusLength < 2_048)
    throw new ServiceError('invalid_request', 'an RSA key of less than 2,048 bits signs nothing');
  return { key, algorithm };
}

/**
 * The bundle with OPA's `.signatures.json`: OPA itself hashes and signs, and then verifies what it is to take.
 * Throws `invalid_request` for the key, `policy_failed` where what was signed does not verify.
 */
export async function signed(files: readonly BundleFile[], pem: string, opa: string): Promise<Uint8Array> {
  const { key, algorithm } = signingKey(pem);
  // The folder is this user's alone, and gone with its key afterwards.
  const folder = await mkdtemp(path.join(os.tmpdir(), 'mandate-sign-'));
  try {
    const place = (name: string): string => path.join(folder, name);
    const type = algorithm === 'RS256' ? 'pkcs1' : 'sec1';
    await writeFile(place('key.pem'), key.export({ format: 'pem', type }), { mode: 0o600 });
    await writeFile(place('bundle.tar.gz'), await packed(files));
    return await confined(opa, folder, async (run) => {
      const by = ['--signing-alg', algorithm];
      const sign = await run(['sign', ...by, '--signing-key', 'key.pem', '--bundle', 'bundle.tar.gz']);
      if (sign.code !== 0) throw failed(sign.stderr);
      const all = [...files, [SIGNATURES, await readFile(place('.signatures.json'))] as const];
      const archive = await packed(all);
      await writeFile(place('signed.tar.gz'), archive);
      await writeFile(place('key.pub'), createPublicKey(key).export({ format: 'pem', type: 'spki' }));
      const verify = ['build', ...by, '--verification-key', 'key.pub', '--bundle', 'signed.tar.gz'];
      const verified = await run([...verify, '--signing-key', 'key.pem', '--output', 'verified.tar.gz']);
      if (verified.code !== 0) throw failed(verified.stderr);
      return archive;
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const failed = (detail: string): ServiceError =>
  new ServiceError('policy_failed', 'OPA does not take the bundle with its signature', {
    detail: detail.slice(0, 500),
  });
