import { createPublicKey, type KeyObject } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ServiceError } from '../../errors.ts';
import { confined } from '../opa/child.ts';
import { algorithmOf } from '../signing.ts';
import { inFolder } from './folder.ts';
import type { Source } from './reading.ts';

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
  const { algorithm, publicPem } = publicKeyIn(pem);
  if (!files.has(SIGNATURES))
    throw new ServiceError('invalid_request', `it is not signed: it holds no ${SIGNATURES}`);
  await inFolder(async (folder) => {
    await writeFile(path.join(folder, 'key.pub'), publicPem);
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

/** Of a private key the public part alone goes on. */
function publicKeyIn(pem: string): { readonly algorithm: string; readonly publicPem: string | Buffer } {
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch (cause) {
    throw new ServiceError('invalid_request', 'the verification key is no public key in PEM', { cause });
  }
  const algorithm = algorithmOf(key);
  if (algorithm !== undefined) return { algorithm, publicPem: key.export({ type: 'spki', format: 'pem' }) };
  throw new ServiceError('invalid_request', 'bundles are verified by an RSA, P-256 or P-384 key');
}
