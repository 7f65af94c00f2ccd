import { type Checkpoint, parseCheckpoint, type SignedCheckpoint } from '../../merkle/checkpoint.ts';
import { Frontier, type OnTile } from '../../merkle/frontier.ts';
import { type Hash, isSame, leafHash } from '../../merkle/hashes.ts';
import { type Policy, refusalOf } from '../../merkle/policy.ts';
import { TILE_WIDTH } from '../../merkle/tree.ts';

/** What became of one log. */
export interface Verdict {
  readonly origin: string;
  /** How many entries were read. */
  readonly entries: number;
  /** How many of them are proved to be what the log stated; 0 if it is not proved. */
  readonly proved: number;
  /** What is wrong, in words for whoever asked; none if all is well. */
  readonly faults: readonly string[];
  /** What cannot be said of it, beside. */
  readonly notes: readonly string[];
}

export type TileHash = (level: number, at: number) => Hash | undefined;

/** How many faults are told one by one. */
const MOST_FAULTS = 1_000;

/**
 * One log on its way to a verdict: every entry is hashed, and the tree over them is to be the one that checkpoints state.
 * It keeps the right edge of the tree and no more.
 */
export class LogVerification {
  readonly #origin: string;
  readonly #frontier = new Frontier();
  readonly #faults: string[] = [];
  readonly #notes: string[] = [];
  #moreFaults = 0;
  /** Checkpoints whose size is still to come, smallest first. */
  readonly #ahead: (Checkpoint & { readonly what: string; readonly isProof: boolean })[] = [];
  #proved = 0;
  #isRefused = false;
  #gone: { readonly how: string; readonly from: number; end: number } | undefined;
  #bad: { readonly from: number; end: number; readonly what: string } | undefined;

  readonly #tileHash: TileHash;

  /** `tileHash` answers what a hash of the levels above the leaves is said to be, where that is said. */
  constructor(origin: string, tileHash: TileHash = () => undefined) {
    this.#origin = origin;
    this.#tileHash = tileHash;
  }

  get entries(): number {
    return this.#frontier.size;
  }

  /** One that the entries are to fit, and are proved by if it `isProof`. Called before any entry; `what` names it. */
  expect(source: string, policy: Policy, what: string, isProof = true): SignedCheckpoint | undefined {
    try {
      const checkpoint = parseCheckpoint(source);
      const refusal =
        checkpoint.origin === this.#origin
          ? refusalOf(policy, checkpoint)
          : `it is of the log ${checkpoint.origin}`;
      if (refusal !== undefined) throw new Error(refusal);
      this.#ahead.push({ ...checkpoint, what, isProof });
      this.#ahead.sort((a, b) => a.size - b.size);
      this.#compare();
      return checkpoint;
    } catch (error) {
      this.#isRefused = true;
      this.fault(`${what} proves nothing: ${(error as Error).message}`);
      return undefined;
    }
  }

  /** The next entry, and what is said elsewhere to be its hash, if that is said. */
  entry(entry: Uint8Array, stated?: Hash): void {
    const hash = leafHash(entry);
    if (stated && !isSame(stated, hash)) this.#isBad('was changed');
    this.#append(stated ?? hash);
  }

  /** An entry that is not there. What is said to be its hash keeps the place of those after it. */
  missing(stated?: Hash): void {
    this.#isBad('is missing or cannot be read');
    this.#append(stated ?? NOBODYS);
  }

  /** One that was archived or removed. Its hash is all that is left of it here, and is proved as the others are. */
  gone(how: string, hash: Hash | undefined): void {
    const at = this.entries;
    if (this.#gone?.how === how && this.#gone.end === at) this.#gone.end += 1;
    else {
      this.#tellGone();
      this.#gone = { how, from: at, end: at + 1 };
    }
    this.#append(hash ?? NOBODYS);
  }

  fault(text: string): void {
    if (this.#faults.length < MOST_FAULTS) this.#faults.push(text);
    else this.#moreFaults += 1;
  }

  note(text: string): void {
    this.#notes.push(text);
  }

  /** Called after the last entry. */
  verdict(): Verdict {
    this.#tellBad();
    this.#tellGone();
    for (const { what, size } of this.#ahead)
      this.fault(
        `${what} is of ${size} entries, but there are ${this.entries}: ${size - this.entries} are gone`,
      );
    const faults = this.#moreFaults > 0 ? [...this.#faults, `and ${this.#moreFaults} more`] : this.#faults;
    const isProved = faults.length === 0 && !this.#isRefused;
    return {
      origin: this.#origin,
      entries: this.entries,
      proved: isProved ? this.#proved : 0,
      faults,
      notes: this.#notes,
    };
  }

  #append(hash: Hash): void {
    this.#frontier.append(Buffer.from(hash), this.#compareTile);
    this.#compare();
  }

  /** Where entries and their hashes were changed together it tells which of so many. */
  readonly #compareTile: OnTile = (level, at, hash) => {
    const stated = this.#tileHash(level, at);
    if (!stated || isSame(stated, hash)) return;
    this.#tellBad();
    const width = TILE_WIDTH ** level;
    this.fault(`entries ${at * width} to ${(at + 1) * width - 1} are not those of their tile`);
  };

  #compare(): void {
    for (let next = this.#ahead[0]; next?.size === this.entries; next = this.#ahead[0]) {
      this.#ahead.shift();
      if (isSame(next.root, this.#frontier.root())) this.#proved = next.isProof ? next.size : this.#proved;
      else {
        this.#tellBad();
        this.fault(`the first ${next.size} entries are not those that ${next.what} states`);
      }
    }
  }

  /** Neighbours are told together. */
  #isBad(what: string): void {
    const at = this.entries;
    if (this.#bad?.end === at && this.#bad.what === what) {
      this.#bad.end += 1;
      return;
    }
    this.#tellBad();
    this.#bad = { from: at, end: at + 1, what };
  }

  #tellGone(): void {
    if (!this.#gone) return;
    const { how, from, end } = this.#gone;
    this.note(
      `${end - from === 1 ? `entry ${from} was` : `entries ${from} to ${end - 1} were`} ${how}: here are their hashes alone`,
    );
    this.#gone = undefined;
  }

  #tellBad(): void {
    if (!this.#bad) return;
    const { from, end, what } = this.#bad;
    this.fault(end - from === 1 ? `entry ${from} ${what}` : `entries ${from} to ${end - 1}: each ${what}`);
    this.#bad = undefined;
  }
}

const NOBODYS = new Uint8Array(32);

/** Which log a checkpoint says it is of, before anything of it is looked at. */
export const originIn = (source: string): string => source.slice(0, 1_000).split('\n', 1)[0] ?? '';
