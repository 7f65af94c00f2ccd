import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'vitest';
import { type AttackedLog, attacked, type Left, SIZE } from './attacked.ts';
import { audit } from './within.ts';

/** What `mandate audit verify` says of acme's log in a store after somebody was at it. */

export interface Said {
  readonly code: number;
  readonly entries: number;
  readonly proved: number;
  /** Of all logs that were looked at. */
  readonly faults: readonly string[];
}

export class Examiner {
  readonly #left: Left;

  constructor(left: Left) {
    this.#left = left;
  }

  /** By the keys of both tenants, unless others are given. */
  async verified(store: string, ...args: string[]): Promise<Said> {
    const { acme, globex } = this.#left.keys;
    const trusted = args.some((arg) => arg === '--key' || arg === '--policy') ? [] : ['--key', acme, globex];
    const { code, stdout } = await audit('verify', store, ...trusted, ...args, '--json');
    const said = JSON.parse(stdout) as { proved: boolean; logs: (Said & { origin: string })[] };
    expect(said.proved).toBe(code === 0);
    const log = said.logs.find(({ origin }) => /\bacme\b/.test(origin));
    const faults = said.logs.flatMap((each) => each.faults);
    return { code, entries: log?.entries ?? 0, proved: log?.proved ?? 0, faults };
  }

  async after(attack: (log: AttackedLog) => void, ...args: string[]): Promise<Said> {
    await using copy = await attacked(this.#left.store, attack);
    return await this.verified(copy.folder, ...args);
  }

  /** `--checkpoint` and a file with one that was kept elsewhere. */
  async kept(name: 'older' | 'newest' | 'globex'): Promise<[string, string]> {
    const file = path.join(this.#left.store, '..', `${name}.checkpoint`);
    await writeFile(file, this.#left.checkpoints[name]);
    return ['--checkpoint', file];
  }
}

export const DISAGREES = `the first ${SIZE} entries are not those that its checkpoint states`;
export const tile = (at: number): string =>
  `entries ${at * 256} to ${at * 256 + 255} are not those of their tile`;
export const all: Said = { code: 0, entries: SIZE, proved: SIZE, faults: [] };
export const refused = (...faults: string[]): Said => ({ code: 1, entries: SIZE, proved: 0, faults });
