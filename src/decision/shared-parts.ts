import { createHash } from 'node:crypto';
import type { SharedPart } from '../storage/rows.ts';
import type { UncheckedRequest } from './request.ts';

/** Shorter ones are kept where they stand: a digest and its name take a tenth of it. */
const LEAST = 1_024;

type Member = (request: UncheckedRequest) => object | undefined;

/** What of a request may be large and is given as an object: a batch's defaults are the same object in each item. */
const members: readonly Member[] = [
  ({ subject }) => subject?.properties,
  ({ action }) => action?.properties,
  ({ resource }) => resource?.properties,
  ({ context }) => context,
];

/**
 * The parts of a batch that stand in more than one of its items. A caller sends such a part once, so it is kept once:
 * the records name it by its digest, and the store holds it beside them, once a tenant.
 */
export class SharedParts {
  readonly #shared = new Set<object>();
  readonly #parts = new Map<object, { readonly text: string; readonly part: SharedPart }>();

  private constructor() {}

  /** Undefined where they share nothing. */
  static of(requests: readonly UncheckedRequest[]): SharedParts | undefined {
    const parts = new SharedParts();
    for (const member of members) parts.#find(requests, member);
    return parts.#shared.size === 0 ? undefined : parts;
  }

  /** The digest, as hex, that stands for a part of this text in a record; undefined where the text itself does. */
  digestOf(object: object | undefined, text: string): string | undefined {
    if (object === undefined || text.length < LEAST || !this.#shared.has(object)) return undefined;
    const known = this.#parts.get(object);
    // The same properties may be stated of two principals, whose own differ.
    if (known) return known.text === text ? known.part.digest : undefined;
    const digest = createHash('sha256').update(text).digest('hex');
    this.#parts.set(object, { text, part: { digest, body: text } });
    return digest;
  }

  /** Those that were asked for. */
  get used(): SharedPart[] {
    return [...this.#parts.values()].map(({ part }) => part);
  }

  #find(requests: readonly UncheckedRequest[], member: Member): void {
    const seen = new Set<object>();
    let before: object | undefined;
    for (const request of requests) {
      const object = member(request);
      if (object === undefined) continue;
      // Mostly it is that of the item before.
      if (object === before || seen.has(object)) this.#shared.add(object);
      else seen.add(object);
      before = object;
    }
  }
}

/** Texts of an input as its record keeps them. */
export class Kept {
  readonly #shared: SharedParts;
  readonly #members: string[] = [];

  constructor(shared: SharedParts) {
    this.#shared = shared;
  }

  /** The text, or `instead` where the part is shared; it is then found by `member`, a path into the input. */
  text(member: string, object: object | undefined, text: string, instead = (): string => 'null'): string {
    const digest = this.#shared.digestOf(object, text);
    if (digest === undefined) return text;
    this.#members.push(`"${member}":"${digest}"`);
    return instead();
  }

  /** Members of the record, each with a leading comma. */
  get members(): string {
    return this.#members.length === 0 ? '' : `,"input_parts":{${this.#members.join(',')}}`;
  }
}
