import { setTimeout as delay } from 'node:timers/promises';
import { Command, Option } from 'commander';
import { ServiceError } from '../../errors.ts';
import { globalsOf, warn } from '../terminal/output.ts';
import { wholeNumber } from '../terminal/values.ts';
import { STORED } from './lines.ts';
import { AllLogs, OneLog, type Tailing } from './tailing.ts';

interface TailOptions {
  readonly tenant: string;
  readonly from?: number | 'beginning';
  readonly follow?: boolean;
  readonly stored?: boolean;
  readonly node?: string;
  readonly cursor?: string;
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
    .option(
      '--from <place>',
      'begin with this record instead of the next one, by its index in one log; or, of all logs, with the beginning',
      placeIn,
    )
    .option(
      '--follow',
      'connect again where the connection or the server ends, and go on with the next record',
    )
    .option('--node <name>', 'the log of this server alone; left out: all that are here')
    .addOption(
      new Option(
        '--cursor <file>',
        'where it is kept how far all logs were printed, to go on from there another time',
      ).conflicts('node'),
    )
    .option('--stored', STORED)
    .addHelpText(
      'after',
      `
Examples:
  $ mandate audit tail -t acme --from 0 --follow
  $ mandate --json audit tail -t acme --from beginning --cursor acme.cursor --follow
`,
    )
    .action(async (options: TailOptions, command: Command) => {
      const tailing = await tailingOf(options, command);
      let waitMs = FIRST_WAIT_MS;
      for (;;)
        try {
          await tailing.print(() => {
            waitMs = FIRST_WAIT_MS;
          });
          // The log has no end, so it was the server that did.
          throw new ServiceError(
            'unavailable',
            `the server at ${globalsOf(command).admin} stopped; there may be more records`,
          );
        } catch (error) {
          if (!options.follow || !(error instanceof ServiceError) || !passing.has(error.code)) throw error;
          warn(`mandate: ${error.message}; connecting again`);
          await delay(waitMs);
          waitMs = Math.min(MOST_WAIT_MS, waitMs * 2);
        }
    });

/** Throws `invalid_request`. */
async function tailingOf(
  { tenant, from, node, cursor, stored, follow }: TailOptions,
  command: Command,
): Promise<Tailing> {
  const followed = { globals: globalsOf(command), tenant, stored, follow };
  if (node === undefined && typeof from !== 'number')
    return AllLogs.open(followed, cursor, from === undefined ? '' : BEGINNING);
  if (cursor !== undefined)
    throw new ServiceError('invalid_request', '--cursor is of all logs: without an index in --from');
  return new OneLog(followed, node ?? '', from === 'beginning' ? 0 : from);
}

/** The cursor that nothing was told before. */
const BEGINNING = 't';

const index = wholeNumber(0);

const placeIn = (text: string): number | 'beginning' => (text === 'beginning' ? text : index(text));
