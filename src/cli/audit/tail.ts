import { setTimeout as delay } from 'node:timers/promises';
import { Command } from 'commander';
import { readRecord } from '../../audit/read.ts';
import { ServiceError } from '../../errors.ts';
import { AuditService } from '../../gen/mandate/v1/audit_pb.ts';
import type { StoredRecord } from '../../storage/log/records.ts';
import { clientOf } from '../client.ts';
import { type GlobalOptions, globalsOf, warn } from '../terminal/output.ts';
import { wholeNumber } from '../terminal/values.ts';
import { visible, visibleJson } from '../terminal/visible.ts';
import { clear, line, NODE, row, STORED } from './lines.ts';

interface TailOptions {
  readonly tenant: string;
  readonly from?: number;
  readonly follow?: boolean;
  readonly stored?: boolean;
  readonly node?: string;
}

/** How long it waits before it connects again: twice as long each time, while nothing answers. */
const FIRST_WAIT_MS = 250;
const MOST_WAIT_MS = 10_000;

/** Faults of the moment. Whoever is refused, or asks for what there is not, is told so. */
const passing: ReadonlySet<string> = new Set(['unavailable', 'deadline_exceeded', 'resource_exhausted']);

export const tailCommand = (): Command =>
  new Command('tail')
    .description('print records as they are committed, until you stop it')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('--from <index>', 'begin with this record instead of the next one', wholeNumber(0))
    .option(
      '--follow',
      'connect again where the connection or the server ends, and go on with the next record',
    )
    .option('--node <name>', NODE)
    .option('--stored', STORED)
    .addHelpText('after', '\nExample:\n  $ mandate audit tail -t acme --from 0 --follow\n')
    .action(async ({ tenant, from, follow, stored, node = '' }: TailOptions, command: Command) => {
      const globals = globalsOf(command);
      let next = from;
      let waitMs = FIRST_WAIT_MS;
      for (;;)
        try {
          // Where the log ends now is asked for: a connection that breaks before the first record would leave a gap.
          next ??= follow ? await endOf(globals, { tenant, node }) : undefined;
          for await (const page of tailed(globals, { tenant, node }, next, stored)) {
            const lines: string[] = [];
            for (const record of page) {
              if (next !== undefined && record.index > next) warn(leftOut(next, record.index));
              next = record.index + 1;
              lines.push(shown(record, globals.json === true));
            }
            waitMs = FIRST_WAIT_MS;
            // A write a line would be most of the work.
            process.stdout.write(lines.join(''));
          }
          // The log has no end, so it was the server that did.
          throw new ServiceError(
            'unavailable',
            `the server at ${globals.admin} stopped; there may be more records`,
          );
        } catch (error) {
          if (!follow || !(error instanceof ServiceError) || !passing.has(error.code)) throw error;
          warn(`mandate: ${error.message}; connecting again`);
          await delay(waitMs);
          waitMs = Math.min(MOST_WAIT_MS, waitMs * 2);
        }
    });

/** The index of the next record of the log. */
async function endOf(globals: GlobalOptions, log: LogNamed): Promise<number> {
  return Number((await clientOf(AuditService, 'admin', globals).describeLog(log)).nextIndex);
}

interface LogNamed {
  readonly tenant: string;
  readonly node: string;
}

async function* tailed(
  globals: GlobalOptions,
  log: LogNamed,
  from: number | undefined,
  isStored: boolean | undefined,
): AsyncGenerator<StoredRecord[]> {
  // Compressing them takes longer than all the rest.
  const client = clientOf(AuditService, 'admin', globals, { acceptCompression: [] });
  const pages = client.tail({
    ...log,
    stored: true,
    ...(from === undefined ? {} : { fromIndex: BigInt(from) }),
  });
  for await (const { stored } of pages) yield stored.map((record) => clear(record, isStored));
}

/** A line, with its end. */
function shown(record: StoredRecord, isJson: boolean): string {
  if (isJson) return `${visibleJson(line(record))}\n`;
  return `${row(readRecord(record)).map(visible).join('  ')}\n`;
}

const leftOut = (from: number, end: number): string =>
  `mandate: ${end - from === 1 ? `record ${from} is` : `records ${from} to ${end - 1} are`} not there: archived or removed (\`mandate audit volumes\` says which), or damaged`;
