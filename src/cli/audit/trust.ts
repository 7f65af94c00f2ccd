import { existsSync, readFileSync } from 'node:fs';
import { describe, ServiceError } from '../../errors.ts';
import { parseVkey, SignatureType, type VerifierKey } from '../../merkle/keys.ts';
import { type Policy, parsePolicy } from '../../merkle/policy.ts';

/** Whom to trust, as it is named on a command line. */
export interface Trusted {
  /** Verifier keys of logs, or files with them. */
  readonly key?: string[];
  /** A file (C2SP tlog-policy). */
  readonly policy?: string;
}

/** Throws `invalid_request`, with what is wrong and where the key is to be had. */
export function policyIn({ key, policy }: Trusted): Policy {
  if ((key === undefined) === (policy === undefined))
    throw new ServiceError(
      'invalid_request',
      'name what to trust, by --key or by --policy; `mandate audit key` prints the key of a log',
    );
  try {
    if (policy !== undefined) return parsePolicy(textOf(policy));
    return { logs: (key ?? []).flatMap(logKeysIn), quorum: undefined };
  } catch (cause) {
    throw new ServiceError('invalid_request', `${policy ?? '--key'}: ${describe(cause)}`, { cause });
  }
}

/** Those of a file, a line each, or itself. */
function logKeysIn(text: string): VerifierKey[] {
  if (existsSync(text)) return textOf(text).trim().split('\n').map(logKeyIn);
  if (!text.includes('+'))
    throw new Error(`${text} is neither a file nor a verifier key, which is name+id+key`);
  return [logKeyIn(text)];
}

function logKeyIn(text: string): VerifierKey {
  const key = parseVkey(text.trim());
  if (key.type === SignatureType.COSIGNATURE)
    throw new Error(`the key ${key.name} is a witness's, not a log's`);
  return key;
}

export function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new ServiceError('invalid_request', `${file} cannot be read: ${describe(cause)}`, { cause });
  }
}
