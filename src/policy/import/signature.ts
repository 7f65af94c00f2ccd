import { createPublicKey } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ServiceError } from '../../errors.ts';
import { confined } from '../opa/child.ts';
import { inFolder } from './folder.ts';
import type { Source } from './reading.ts';

/** OPA's names for the algorithms of keys, by type and curve. */
const ALGORITHMS: Readonly<Record<string, string>> = {
  rsa: 'RS256',
  'ec prime256v1': 'ES256',
  'ec secp384r1': 'ES384',
};

export const SIGNATURES = '.signatures.json';

/**
 * Has OPA verify what was read, and nothing else: each file by its digest, and that none is there beside. Throws
 * `invalid_request` for a key that is none, and where the signature does not hold.
 */
export async function verify(
  { files, archive }: Source,
  pem: string,
  opa: string,
  isV0: boolean,
): Promise<void> {
  const algorithm = algorithmOf(pem);
  if (!files.has(SIGNATURES))
    throw new ServiceError('invalid_request', `it is not signed: it holds no ${SIGNATURES}`);
  await inFolder(async (folder) => {
    await writeFile(path.join(folder, 'key.pub'), pem);
    const bundle = archive ? 'bundle.tar.gz' : 'bundle';
    if (archive) await writeFile(path.join(folder, bundle), archive);
    else
      for (const [name, bytes] of files) {
        const place = path.join(folder, bundle, name);
        await mkdir(path.dirname(place), { recursive: true });
        await writeFile(place, bytes);
      }
    const { code, stderr } = await confined(opa, folder, (run) =>
      run([
        'build',
        '--bundle',
        '--verification-key',
        'key.pub',
        '--signing-alg',
        algorithm,
        ...(isV0 ? ['--v0-compatible'] : []),
        '--output',
        'verified.tar.gz',
        bundle,
      ]),
    );
    if (code === 0) return;
    const said = (stderr.trim().split('\n')[0] ?? '').slice(0, 300);
    throw new ServiceError('invalid_request', `OPA does not take its signature: ${said}`);
  });
}

function algorithmOf(pem: string): string {
  try {
    const key = createPublicKey(pem);
    const { namedCurve = '' } = key.asymmetricKeyDetails ?? {};
    const algorithm = ALGORITHMS[`${key.asymmetricKeyType} ${namedCurve}`.trim()];
    if (algorithm !== undefined) return algorithm;
  } catch (cause) {
    throw new ServiceError('invalid_request', 'the verification key is no public key in PEM', { cause });
  }
  throw new ServiceError('invalid_request', 'bundles are verified by an RSA, P-256 or P-384 key');
}
