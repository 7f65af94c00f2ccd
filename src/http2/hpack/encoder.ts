import { STATIC_ENTRIES, STATIC_TABLE } from './static-table.ts';

/**
 * The only fields that ever enter the peer's dynamic table, in this order: what each gRPC answer has. All others are
 * literals, so that this end has no table to keep in step.
 */
const REMEMBERED: readonly string[] = ['content-type: application/grpc+proto', 'grpc-status: 0'];

/** A header section of an answer, made once where it is always the same. */
export class HeaderBlock {
  /** Names in small letters, and values, by turns; values are Latin-1 without control characters. */
  readonly pairs: readonly string[];
  /** As it is sent once all of REMEMBERED is in the peer's table, which is nearly always. */
  readonly steady: Uint8Array;

  /** Throws TypeError for what is no field (RFC 9113 section 8.2.1). */
  constructor(fields: Iterable<readonly [name: string, value: string]>) {
    const pairs: string[] = [];
    for (const [name, value] of fields) {
      if (!/^:?[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name) || !/^[\t\x20-\x7e\x80-\xff]*$/.test(value))
        throw new TypeError(`not a header field: ${name}`);
      pairs.push(name, value.replace(/^[ \t]+|[ \t]+$/g, ''));
    }
    this.pairs = pairs;
    this.steady = new HpackEncoder(REMEMBERED.length).encode(pairs);
  }

  get status(): string | undefined {
    return this.pairs[0] === ':status' ? this.pairs[1] : undefined;
  }
}

/** Encodes the header sections of one connection's answers. */
export class HpackEncoder {
  /** How many of REMEMBERED the peer has. */
  #sent: number;
  #remembers = true;
  #announces = false;

  constructor(sent = 0) {
    this.#sent = sent;
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. One that is too small is not used at all from then on. */
  limit(tableBytes: number): void {
    if (tableBytes >= 4_096 || !this.#remembers) return;
    this.#remembers = false;
    this.#sent = 0;
    // RFC 7541 section 4.2: the next block says so.
    this.#announces = true;
  }

  of(block: HeaderBlock): Uint8Array {
    return this.#sent === REMEMBERED.length ? block.steady : this.encode(block.pairs);
  }

  encode(pairs: readonly string[]): Uint8Array {
    const parts: Uint8Array[] = [];
    if (this.#announces) parts.push(Buffer.of(0x20));
    this.#announces = false;
    for (let at = 0; at < pairs.length; at += 2)
      parts.push(this.#field(pairs[at] as string, pairs[at + 1] as string));
    return Buffer.concat(parts);
  }

  #field(name: string, value: string): Uint8Array {
    const whole = STATIC_FIELDS.get(`${name}: ${value}`);
    // RFC 7541 section 6.1.
    if (whole !== undefined) return integer(0x80, 7, whole);
    const remembered = REMEMBERED.indexOf(`${name}: ${value}`);
    if (remembered >= 0 && remembered < this.#sent)
      return integer(0x80, 7, STATIC_ENTRIES + this.#sent - remembered);
    const isNew = remembered === this.#sent && this.#remembers;
    if (isNew) this.#sent += 1;
    const index = STATIC_NAMES.get(name);
    // Section 6.2.1, with incremental indexing, or 6.2.2, without.
    const first = isNew ? integer(0x40, 6, index ?? 0) : integer(0, 4, index ?? 0);
    return Buffer.concat([first, ...(index === undefined ? [text(name)] : []), text(value)]);
  }
}

/** RFC 7541 section 5.1. */
function integer(pattern: number, prefixBits: number, value: number): Uint8Array {
  const most = (1 << prefixBits) - 1;
  if (value < most) return Buffer.of(pattern | value);
  const bytes = [pattern | most];
  let rest = value - most;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** Section 5.2, as it is. */
const text = (value: string): Uint8Array =>
  Buffer.concat([integer(0, 7, value.length), Buffer.from(value, 'latin1')]);

const STATIC_FIELDS = new Map<string, number>();
const STATIC_NAMES = new Map<string, number>();
for (let index = STATIC_ENTRIES; index > 0; index -= 1) {
  const [name, value] = STATIC_TABLE.slice(2 * index - 2, 2 * index) as [string, string];
  STATIC_NAMES.set(name, index);
  if (value !== '') STATIC_FIELDS.set(`${name}: ${value}`, index);
}
