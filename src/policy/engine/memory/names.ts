import { emptyHash, hashed, stringBytes } from './layout.ts';

/** A member's name as the words of a string, its address counted from its start, and its hash. */
export interface Name {
  readonly words: Int32Array;
  readonly hash: number;
}

const mostNames = 512;

/** The names of members that a writer has met: they are few and come again in each input. */
export class Names {
  readonly #names = new Map<string, Name>();

  find(text: string): Name | undefined {
    return this.#names.get(text);
  }

  keep(text: string, name: Name): void {
    // Names that callers make up would otherwise stay in the place of those that matter.
    if (this.#names.size >= mostNames) this.#names.clear();
    this.#names.set(text, name);
  }

  clear(): void {
    if (this.#names.size > 0) this.#names.clear();
  }
}

/** The hash of the string at an address, whose bytes follow it. */
export function hashAt(words: Int32Array, bytes: Uint8Array, address: number): number {
  const start = address + stringBytes;
  const end = start + (words[(address >>> 2) + 1] as number);
  let hash = emptyHash;
  for (let at = start; at < end; at += 1) hash = hashed(hash, bytes[at] as number);
  return hash;
}
