import type { FileHandle } from 'node:fs/promises';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import { type AuditRecord, readRecord } from '../../../audit/read.ts';
import { columns } from './columns.ts';
import type { RowSink } from './rows.ts';

/** What is in memory at once: a row group. */
const GROUP_ROWS = 8_192;
const GROUP_BYTES = 8 * 1024 * 1024;

type Schema = ConstructorParameters<typeof ParquetWriter>[0]['schema'];

const text = (name: string, repetition_type: 'REQUIRED' | 'OPTIONAL') =>
  ({ name, type: 'BYTE_ARRAY', converted_type: 'UTF8', repetition_type }) as const;

const schema: Schema = [
  { name: 'log', num_children: columns.length + 3 },
  { name: 'index', type: 'INT64', repetition_type: 'REQUIRED' },
  { name: 'time', type: 'INT64', converted_type: 'TIMESTAMP_MILLIS', repetition_type: 'REQUIRED' },
  ...columns.map(([name]) => text(name, 'OPTIONAL')),
  text('record', 'REQUIRED'),
];

/** A table of the columns of CSV, null where they are empty, and the record as it stands in the log as its last one. */
export function parquet(out: FileHandle, origin: string): RowSink {
  const bytes = fileWriter(out);
  const writer = new ParquetWriter({
    writer: bytes,
    schema,
    kvMetadata: [{ key: 'origin', value: origin }],
    createdBy: 'mandate',
  });
  let group: AuditRecord[] = [];
  let size = 0;
  const flush = async (): Promise<void> => {
    if (group.length === 0) return;
    await writer.write({ columnData: columnsOf(group), rowGroupSize: group.length });
    [group, size] = [[], 0];
  };
  return {
    async write(records) {
      for (const stored of records) {
        group.push(readRecord(stored));
        size += stored.body.length;
        if (group.length >= GROUP_ROWS || size >= GROUP_BYTES) await flush();
      }
    },
    async end() {
      await flush();
      await writer.finish();
    },
  };
}

const columnsOf = (records: readonly AuditRecord[]) => {
  // Where pages lie is told by nothing that grows with the file.
  const column = (name: string, data: unknown[]) => ({ name, data, offsetIndex: false });
  return [
    column(
      'index',
      records.map(({ index }) => BigInt(index)),
    ),
    column(
      'time',
      records.map(({ time }) => new Date(time)),
    ),
    ...columns.map(([name, cell]) =>
      column(
        name,
        records.map((record) => cell(record) || null),
      ),
    ),
    column(
      'record',
      records.map(({ body }) => utf8.decode(body)),
    ),
  ];
};

/** Writes what it has to the file after each row group, and keeps nothing of it. */
function fileWriter(out: FileHandle): ByteWriter {
  const writer = new ByteWriter();
  const flush = async (): Promise<void> => {
    await out.writeFile(writer.getBytes());
    writer.index = 0;
  };
  return Object.assign(writer, { flush, finish: flush });
}

const utf8 = new TextDecoder();
