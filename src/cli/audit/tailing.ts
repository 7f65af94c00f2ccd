import { readFile, rename, writeFile } from 'node:fs/promises';
import { readRecord } from '../../audit/read.ts';
import { ServiceError } from '../../errors.ts';
import { AuditService } from '../../gen/mandate/v1/audit_pb.ts';
import type { StoredRecord } from '../../storage/log/records.ts';
import { clientOf } from '../client.ts';
import { type GlobalOptions, warn } from '../terminal/output.ts';
import { visible, visibleJson } from '../terminal/visible.ts';
import { clear, line, nodeLine, row } from './lines.ts';

/** What is followed, and how it is shown. */
export interface Followed {
  readonly globals: GlobalOptions;
  readonly tenant: string;
  readonly stored: boolean | undefined;
  /** Whether it goes on where a connection ends. */
  readonly follow: boolean | undefined;
}

/** Prints what comes by one connection, and goes on from there by the next. */
export interface Tailing {
  /** Calls `came` for what came. Returns where the server ended it. */
  print(came: () => void): Promise<void>;
}

const connected = (globals: GlobalOptions) =>
  // Compressing them takes longer than all the rest.
  clientOf(AuditService, 'admin', globals, { acceptCompression: [] });

/** One log, by its index. */
export class OneLog implements Tailing {
  readonly #followed: Followed;
  readonly #node: string;
  #next: number | undefined;

  constructor(followed: Followed, node: string, from: number | undefined) {
    this.#followed = followed;
    this.#node = node;
    this.#next = from;
  }

  async print(came: () => void): Promise<void> {
    const { globals, tenant, stored: isStored, follow } = this.#followed;
    const log = { tenant, node: this.#node };
    // Where the log ends now is asked for: a connection that breaks before the first record would leave a gap.
    if (follow)
      this.#next ??= Number((await clientOf(AuditService, 'admin', globals).describeLog(log)).nextIndex);
    const from = this.#next === undefined ? {} : { fromIndex: BigInt(this.#next) };
    for await (const { stored } of connected(globals).tail({ ...log, stored: true, ...from })) {
      const lines: string[] = [];
      for (const each of stored) {
        const record = clear(each, isStored);
        if (this.#next !== undefined && record.index > this.#next) warn(leftOut(this.#next, record.index));
        this.#next = record.index + 1;
        lines.push(shown(globals, record));
      }
      came();
      // A write a line would be most of the work.
      process.stdout.write(lines.join(''));
    }
  }
}

type Shown = Parameters<typeof clear>[0];

/** All logs of the tenant, by a cursor: it is kept in a file, if one is named. */
export class AllLogs implements Tailing {
  readonly #followed: Followed;
  readonly #file: string | undefined;
  #cursor: string;
  /** What comes next of each server, by its name. */
  readonly #next = new Map<string, number>();
  /** The same of what came after the cursor: a connection that breaks brings it again. */
  readonly #since = new Map<string, number>();
  #isOfMany = false;

  private constructor(followed: Followed, file: string | undefined, cursor: string) {
    this.#followed = followed;
    this.#file = file;
    this.#cursor = cursor;
  }

  /** `unless`: where it begins if the file says nothing. Throws `invalid_request` where it cannot be read. */
  static async open(followed: Followed, file: string | undefined, unless: string): Promise<AllLogs> {
    return new AllLogs(followed, file, (file && (await cursorIn(file))) || unless);
  }

  async print(came: () => void): Promise<void> {
    const { globals, tenant } = this.#followed;
    const { logs } = await clientOf(AuditService, 'admin', globals).listLogs({ tenant });
    this.#isOfMany ||= logs.length > 1;
    const pages = connected(globals).tail({ tenant, stored: true, cursor: this.#cursor });
    const again = new Map(this.#since);
    let isBegun = false;
    for await (const { node, stored, cursor } of pages) {
      came();
      if (cursor === '') {
        const from = again.get(node) ?? 0;
        this.#show(
          node,
          stored.filter(({ index }) => index >= from),
        );
        continue;
      }
      // The first says where it begins.
      if (isBegun) for (const each of [again, this.#since]) each.clear();
      isBegun = true;
      await this.#keep(cursor);
    }
  }

  #show(node: string, stored: readonly Shown[]): void {
    const { globals, stored: isStored } = this.#followed;
    const lines: string[] = [];
    let next = this.#next.get(node);
    this.#isOfMany ||= this.#next.size > (next === undefined ? 0 : 1);
    for (const each of stored) {
      const record = clear(each, isStored);
      if (next !== undefined && record.index > next) warn(leftOut(next, record.index, node));
      next = record.index + 1;
      lines.push(shown(globals, record, { node, isOfMany: this.#isOfMany }));
    }
    if (next === undefined) return;
    this.#next.set(node, next);
    this.#since.set(node, next);
    process.stdout.write(lines.join(''));
  }

  /** What was printed before it was written; a crash in between prints some of it again. */
  async #keep(cursor: string): Promise<void> {
    this.#cursor = cursor;
    if (this.#file === undefined) return;
    await writeFile(`${this.#file}.new`, `${cursor}\n`);
    await rename(`${this.#file}.new`, this.#file);
  }
}

async function cursorIn(file: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw new ServiceError('invalid_request', `--cursor ${file} cannot be read`, { cause });
  }
}

/** A line, with its end. */
function shown(
  { json }: GlobalOptions,
  record: StoredRecord,
  of?: { readonly node: string; readonly isOfMany: boolean },
): string {
  if (json) return `${visibleJson(of ? nodeLine({ ...record, node: of.node }) : line(record))}\n`;
  const cells = row(readRecord(record));
  return `${(of?.isOfMany ? [of.node, ...cells] : cells).map(visible).join('  ')}\n`;
}

function leftOut(from: number, end: number, node?: string): string {
  const which = end - from === 1 ? `record ${from} is` : `records ${from} to ${end - 1} are`;
  return `mandate: ${node ? `${node}: ` : ''}${which} not there: archived or removed (\`mandate audit volumes\` says which), or damaged`;
}
