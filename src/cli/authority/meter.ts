import { Command } from 'commander';
import { GrantService } from '../../gen/mandate/v1/grant_pb.ts';
import { clientOf } from '../client.ts';
import { globalsOf, print, printJson, printTable } from '../terminal/output.ts';
import { wholeNumber } from '../terminal/values.ts';
import { visible } from '../terminal/visible.ts';

export const meterCommands = (): Command =>
  new Command('meter').description('what a tenant counts of its decisions').addCommand(list());

interface ListOptions {
  readonly tenant: string;
  readonly meter?: string;
  readonly limit: number;
}

const MAX_PAGE = 1_000;

const list = (): Command =>
  new Command('list')
    .description('list what meters have counted, and for whom; of one with a window what counts now')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('--meter <name>', 'of this one alone')
    .option('--limit <count>', 'at most so many', wholeNumber(1, 1_000_000), 100)
    .addHelpText('after', '\nExample:\n  $ mandate meter list -t acme\n')
    .action(async ({ tenant, meter = '', limit }: ListOptions, command: Command) => {
      const globals = globalsOf(command);
      const client = clientOf(GrantService, 'data', globals);
      const all: { meter: string; countedFor: string; amount: number }[] = [];
      let pageToken = '';
      do {
        const pageSize = Math.min(limit - all.length, MAX_PAGE);
        const page = await client.listUsage({ tenant, meter, pageSize, pageToken });
        all.push(...page.usage);
        pageToken = page.nextPageToken;
      } while (pageToken !== '' && all.length < limit);
      const more = pageToken !== '';
      if (globals.json)
        return printJson({
          usage: all.map((each) => ({ meter: each.meter, for: each.countedFor, amount: each.amount })),
          more,
        });
      if (all.length === 0) return print('nothing was counted');
      printTable(
        ['METER', 'FOR', 'AMOUNT'],
        all.map((each) => [visible(each.meter), visible(each.countedFor), String(each.amount)]),
      );
      if (more) print(`and more: --limit ${limit * 10}`);
    });
