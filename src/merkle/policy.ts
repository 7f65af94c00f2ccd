import type { SignedCheckpoint } from './checkpoint.ts';
import { parseVkey, SignatureType, type VerifierKey } from './keys.ts';
import { isNoteOf } from './note.ts';

/** C2SP tlog-policy: which logs are known, and whose cosignatures make a checkpoint one to be trusted. */
export interface Policy {
  readonly logs: readonly VerifierKey[];
  /** Also those that the quorum does not ask for. */
  readonly witnesses?: readonly VerifierKey[];
  /** Undefined: nobody else is asked for. */
  readonly quorum: Quorum | undefined;
}

/** A witness, or so many of a group. */
export type Quorum =
  | { readonly name: string; readonly witness: VerifierKey }
  | { readonly name: string; readonly least: number; readonly members: readonly Quorum[] };

/** Of one log, by its key, and of no witnesses. */
export const policyOf = (key: VerifierKey): Policy => ({ logs: [key], quorum: undefined });

/** Groups nest no deeper than that. */
const MAX_LINES = 1_000;

/** Throws, with the line of the mistake. */
export function parsePolicy(text: string): Policy {
  const reader = new PolicyReader();
  const lines = text.split('\n');
  if (lines.length > MAX_LINES) throw new Error(`a policy has ${MAX_LINES} lines at most`);
  for (const [at, line] of lines.entries()) {
    try {
      reader.take(line);
    } catch (error) {
      throw new Error(`line ${at + 1}: ${(error as Error).message}`, { cause: error });
    }
  }
  return reader.whole();
}

class PolicyReader {
  readonly #logs: VerifierKey[] = [];
  readonly #witnesses: VerifierKey[] = [];
  readonly #named = new Map<string, Quorum>();
  readonly #members = new Set<string>();
  readonly #keys = new Set<string>();
  #quorum: { readonly of: Quorum | undefined } | undefined;

  take(line: string): void {
    // What is no UTF-8 was made U+FFFD by whoever decoded it, and two names one.
    if (/[[\p{Cc}--[\t\x80-\x9f]]\ufffd]/v.test(line) || !line.isWellFormed())
      throw new Error('the line has characters that none has');
    const [kind, ...words] = line.split(/[ \t]+/).filter((word) => word !== '');
    if (kind === undefined || kind.startsWith('#')) return;
    if (kind === 'log') this.#log(words);
    else if (kind === 'witness') this.#witness(words);
    else if (kind === 'group') this.#group(words);
    else if (kind === 'quorum') this.#decide(words);
    else throw new Error(`${kind} is none of log, witness, group and quorum`);
  }

  whole(): Policy {
    if (!this.#quorum) throw new Error('there is no quorum line; without witnesses it is: quorum none');
    return { logs: this.#logs, witnesses: this.#witnesses, quorum: this.#quorum.of };
  }

  #log([vkey = '', _url, ...more]: string[]): void {
    if (more.length > 0) throw new Error('a log is: log <vkey> [<url>]');
    this.#logs.push(this.#key(vkey, [SignatureType.ED25519, SignatureType.ML_DSA_44], 'log'));
  }

  #witness([name = '', vkey = '', _url, ...more]: string[]): void {
    if (more.length > 0) throw new Error('a witness is: witness <name> <vkey> [<url>]');
    const witness = this.#key(vkey, [SignatureType.COSIGNATURE, SignatureType.ML_DSA_44], 'witness');
    this.#witnesses.push(witness);
    this.#name(name, { name, witness });
  }

  #group([name = '', threshold = '', ...names]: string[]): void {
    const members = names.map((each) => this.#member(each));
    const least = threshold === 'all' ? members.length : threshold === 'any' ? 1 : numberIn(threshold);
    if (!(least >= 1 && least <= members.length))
      throw new Error('a group is: group <name> all|any|<k> <name>..., with as many names as that at least');
    this.#name(name, { name, least, members });
  }

  #decide([name = '', ...more]: string[]): void {
    if (this.#quorum) throw new Error('there are two quorum lines');
    if (name === '' || more.length > 0) throw new Error('a quorum is: quorum <name>|none');
    this.#quorum = { of: name === 'none' ? undefined : this.#find(name) };
  }

  #key(vkey: string, types: readonly SignatureType[], what: string): VerifierKey {
    const key = parseVkey(vkey);
    if (!types.includes(key.type))
      throw new Error(`the key of a ${what} is of type ${types.join(' or ')}, not ${key.type}`);
    const id = `${what} ${vkey.split('+').slice(2).join('+')}`;
    if (this.#keys.has(id)) throw new Error(`the key of this ${what} stands twice`);
    this.#keys.add(id);
    return key;
  }

  #name(name: string, quorum: Quorum): void {
    if (name === '' || name === 'none') throw new Error('a witness or group has a name, which is not none');
    if (this.#named.has(name)) throw new Error(`${name} stands twice`);
    this.#named.set(name, quorum);
  }

  /** Each name is a member once, so that nobody counts twice. */
  #member(name: string): Quorum {
    const member = this.#find(name);
    if (this.#members.has(name)) throw new Error(`${name} is a member already`);
    this.#members.add(name);
    return member;
  }

  #find(name: string): Quorum {
    const found = this.#named.get(name);
    if (!found) throw new Error(`there is no witness and no group ${name} above`);
    return found;
  }
}

const numberIn = (text: string): number => (/^[1-9][0-9]{0,5}$/.test(text) ? Number(text) : 0);

/**
 * Why a checkpoint is not to be trusted; undefined if it is: a known log of its origin signed it, by a key of each type
 * that is known of it, and the quorum of witnesses did. A signature of a known key that does not verify refuses it, whoever else signed.
 */
export function refusalOf(
  { logs, witnesses = [], quorum }: Policy,
  { origin, note }: SignedCheckpoint,
): string | undefined {
  try {
    const ofOrigin = logs.filter(({ name }) => name === origin);
    if (ofOrigin.length === 0) return `no key is known of the log ${origin}`;
    // All are looked at: a signature that does not verify is found even where it is not needed.
    const signers = new Set([...logs, ...witnesses].filter((key) => isNoteOf(note, key)));
    // Whoever names keys of two types wants a signature of each.
    for (const type of new Set(ofOrigin.map((key) => key.type)))
      if (!ofOrigin.some((key) => key.type === type && signers.has(key)))
        return `the log ${origin} has not signed it by a known key${type === SignatureType.ML_DSA_44 ? ' of ML-DSA-44' : ''}`;
    if (quorum && !isReached(quorum, signers)) return `the witnesses of ${quorum.name} have not signed it`;
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

function isReached(quorum: Quorum, signers: ReadonlySet<VerifierKey>): boolean {
  if ('witness' in quorum) return signers.has(quorum.witness);
  return quorum.members.filter((member) => isReached(member, signers)).length >= quorum.least;
}
