/** RFC 9113 section 6.5.2: what a field counts for beside its name and value. */
const FIELD_OVERHEAD = 32;

/**
 * The fields of one header section in the order they came, names and values by turns. There are about ten, and a few are
 * asked for: looking through them costs less than a table of them.
 */
export class Fields {
  readonly list: string[] = [];
  /** As RFC 9113 section 6.5.2 counts: names, values and 32 for each, of those beyond the limit too. */
  size = 0;
  /** False where the list was longer than is taken: what is beyond the limit is not in it. */
  isWhole = true;
  /** False where a name or a value is none (RFC 9113 section 8.2.1). */
  isSound = true;

  /** Adds a field, or only counts it beyond `limit`. */
  put(name: string, value: string, limit: number): void {
    this.size += name.length + value.length + FIELD_OVERHEAD;
    if (this.size > limit) this.isWhole = false;
    else this.list.push(name, value);
  }

  /** The value of a field; of one that came more than once all of them (RFC 9110 section 5.3), cookies by section 8.2.3. */
  get(name: string): string | undefined {
    const { list } = this;
    let value: string | undefined;
    for (let at = 0; at < list.length; at += 2)
      if (list[at] === name) value = joined(name, value, list[at + 1] as string);
    return value;
  }

  /** All of them by name, pseudo-header fields too, as Node's parser would give them. No name can be a prototype's. */
  toRecord(): Record<string, string> {
    const record: Record<string, string> = Object.create(null);
    for (let at = 0; at < this.list.length; at += 2) {
      const name = this.list[at] as string;
      record[name] = joined(name, record[name], this.list[at + 1] as string);
    }
    return record;
  }
}

const joined = (name: string, before: string | undefined, value: string): string =>
  before === undefined ? value : `${before}${name === 'cookie' ? '; ' : ', '}${value}`;
