import type { FileHandle } from 'node:fs/promises';
import { readRecord } from '../../../audit/read.ts';
import { toBase64 } from '../../../merkle/base64.ts';
import type { Hash } from '../../../merkle/hashes.ts';
import type { StoredRecord } from '../../../storage/log/records.ts';
import { columns } from './columns.ts';

/** Takes records in the order of the log, and writes them to a file. */
export interface RowSink {
  write(records: readonly StoredRecord[]): Promise<void>;
  /** Hashes of entries from an index on that were archived or removed. What is left out of a table is not told in it. */
  gone?(first: number, hashes: Iterable<Hash>): Promise<void>;
  end(): Promise<void>;
}

/** An object a line, with the record as it stands in the log, byte for byte, or its hash where that is all there is. */
export const jsonLines = (out: FileHandle): RowSink => ({
  write: (records) =>
    out.writeFile(
      records
        .map(({ index, body }) => `{"index":${index},"record":${Buffer.from(body).toString('utf8')}}\n`)
        .join(''),
    ),
  gone: (first, hashes) =>
    out.writeFile(
      Array.from(
        hashes,
        (hash, place) => `{"index":${first + place},"leaf_hash":"${toBase64(hash)}"}\n`,
      ).join(''),
    ),
  end: () => Promise.resolve(),
});

/** RFC 4180. */
export function csv(out: FileHandle): RowSink {
  let head = lineOf(['index', 'time', ...columns.map(([name]) => name)]);
  return {
    async write(records) {
      await out.writeFile(head + records.map((each) => lineOf(cellsOf(each))).join(''));
      head = '';
    },
    end: () => out.writeFile(head),
  };
}

function cellsOf(stored: StoredRecord): string[] {
  const record = readRecord(stored);
  const time = new Date(record.time).toISOString();
  return [String(record.index), time, ...columns.map(([, cell]) => cell(record))];
}

const lineOf = (cells: readonly string[]): string => `${cells.map(quoted).join(',')}\r\n`;

/**
 * What a spreadsheet would take for a formula is made text by an apostrophe: a caller may have named a resource so. It
 * begins with one of these, also in full width, or with a tab or a line break, which some pass over.
 */
const FORMULA = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/;

function quoted(cell: string): string {
  const text = FORMULA.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
