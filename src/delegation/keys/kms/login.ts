import { readFile } from 'node:fs/promises';
import { ServiceError } from '../../../errors.ts';

/** How a transit server is told who asks. */
export type Login =
  | { readonly by: 'token'; readonly file: string }
  | { readonly by: 'approle'; readonly mount: string; readonly roleId: string; readonly secretFile: string }
  /** The methods `jwt` and `kubernetes`, which are asked alike. */
  | { readonly by: 'jwt'; readonly mount: string; readonly role: string; readonly file: string };

/** What goes into a header as it is. */
const TOKEN = /^[\x21-\x7e]{1,8192}$/;

export const isToken = (text: unknown): text is string => typeof text === 'string' && TOKEN.test(text);

/**
 * A credential in a file, read anew each time: whoever renews it writes another. Rejects with `unavailable`, which names
 * the file and never says what is in it.
 */
export async function credentialIn(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new ServiceError('unavailable', 'the credential for the KMS cannot be read', {
      detail: `${file} (${cause.code})`,
    });
  });
  const token = text.trim();
  if (isToken(token)) return token;
  throw new ServiceError('unavailable', 'the credential for the KMS is none', { detail: file });
}

/** What is sent to get a token, and where to. */
export async function loginRequest(
  login: Exclude<Login, { by: 'token' }>,
): Promise<{ path: string; body: object }> {
  const path = `auth/${login.mount}/login`;
  if (login.by === 'jwt') return { path, body: { role: login.role, jwt: await credentialIn(login.file) } };
  return { path, body: { role_id: login.roleId, secret_id: await credentialIn(login.secretFile) } };
}
