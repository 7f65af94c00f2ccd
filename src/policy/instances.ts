import { LRUCache } from 'lru-cache';
import type { Limits, PolicyInstance } from './engine/instance.ts';
import { APPROVAL, AUDIT, type Proven } from './proof.ts';

/** An instance, whose it is now, and the size at which it is given up. */
export interface Warm {
  readonly instance: PolicyInstance;
  readonly giveUpBytes: number;
  holder: object;
  /** When it was asked for last, as its circle counts. */
  last: number;
}

/**
 * How many instances a revision has on a thread. A memory that is written anew costs less than one that is in no cache,
 * as most of thousands are; and as few tenants as these pay for neither.
 */
const OF_A_REVISION = 8;

/** An instance is another's once the others were asked for so often without it. */
const IDLE = 256;

/** By how much an instance's memory may grow before it is made anew: it never shrinks after one odd request. */
const GROWTH_BYTES = 16 * 1024 * 1024;

/** All instances of a thread. Where there is room for no more, the one that was not asked for longest gives way. */
export class Instances {
  readonly #order: LRUCache<Warm, Circle>;
  readonly #circles = new WeakMap<Proven, Map<number, Circle>>();

  constructor(max: number) {
    this.#order = new LRUCache({ max, dispose: (circle, warm) => circle.forget(warm) });
  }

  get isFull(): boolean {
    return this.#order.size >= this.#order.max;
  }

  /** Where those on a revision with so much memory evaluate. */
  of(shared: Proven, limits: Limits): Circle {
    const circles = this.#circles.get(shared) ?? new Map<number, Circle>();
    this.#circles.set(shared, circles);
    const { memoryPages } = limits;
    const circle = circles.get(memoryPages) ?? new Circle(this, shared, limits);
    circles.set(memoryPages, circle);
    return circle;
  }

  used(warm: Warm): void {
    this.#order.get(warm);
  }

  add(warm: Warm, circle: Circle): void {
    this.#order.set(warm, circle);
  }

  drop(warm: Warm): void {
    this.#order.delete(warm);
  }
}

/**
 * The instances of one revision, for its tenants in turn. Whoever is given an instance that was another's finds a memory
 * of which every byte is that of a new one (`restore`): the module and the data are the same for all of them, and nothing
 * else is in it. That costs a hundredth of a new one.
 */
export class Circle {
  readonly revision: string;
  /** Whether it has the entry point mandate/audit, and mandate/approval. */
  readonly masks: boolean;
  readonly approves: boolean;
  readonly #shared: Proven;
  readonly #all: Instances;
  readonly #limits: Limits;
  readonly #warm: Warm[] = [];
  #count = 0;

  constructor(all: Instances, shared: Proven, limits: Limits) {
    this.#all = all;
    this.#shared = shared;
    this.revision = shared.revision;
    this.masks = this.entrypoints.has(AUDIT);
    this.approves = this.entrypoints.has(APPROVAL);
    this.#limits = limits;
  }

  /** Of the module, by path. */
  get entrypoints(): { has(path: string): boolean } {
    return this.#shared.module.entrypoints;
  }

  /** The instance of whoever asks, until another one is given it. Throws what a new instance throws. */
  take(holder: object): Warm {
    this.#count += 1;
    const warm = this.#of(holder) ?? this.#another(holder) ?? this.#fresh(holder);
    warm.last = this.#count;
    this.#all.used(warm);
    return warm;
  }

  /** After an evaluation: it is given up if it failed, or has grown. */
  giveBack(warm: Warm): void {
    if (isSpent(warm)) this.#all.drop(warm);
  }

  /** Nothing of it is kept any more. */
  leave(holder: object): void {
    const warm = this.#of(holder);
    if (warm) this.#all.drop(warm);
  }

  forget(warm: Warm): void {
    const at = this.#warm.indexOf(warm);
    if (at >= 0) this.#warm.splice(at, 1);
  }

  #of(holder: object): Warm | undefined {
    for (const warm of this.#warm) if (warm.holder === holder) return warm;
    return undefined;
  }

  #another(holder: object): Warm | undefined {
    if (this.#warm.length < OF_A_REVISION && !this.#all.isFull) return undefined;
    const warm = this.#idle() ?? this.#warm.at(-1);
    if (!warm) return undefined;
    if (isSpent(warm) || !warm.instance.restore(this.#shared.image)) {
      this.#all.drop(warm);
      return undefined;
    }
    warm.holder = holder;
    return warm;
  }

  /** The last is the one that changes hands; the others stay with those who ask often. */
  #idle(): Warm | undefined {
    for (const warm of this.#warm) if (this.#count - warm.last > IDLE) return warm;
    return undefined;
  }

  #fresh(holder: object): Warm {
    const { module, data } = this.#shared;
    const instance = module.instantiate(data, this.#limits);
    const warm = { instance, giveUpBytes: instance.memoryBytes + GROWTH_BYTES, holder, last: 0 };
    this.#warm.push(warm);
    this.#all.add(warm, this);
    return warm;
  }
}

const isSpent = ({ instance, giveUpBytes }: Warm): boolean =>
  instance.poisoned || instance.memoryBytes > giveUpBytes;
