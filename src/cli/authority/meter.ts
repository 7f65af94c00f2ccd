import { timestampDate } from '@bufbuild/protobuf/wkt';
import { Command } from 'commander';
import { GrantService } from '../../gen/mandate/v1/grant_pb.ts';
import { TenantService } from '../../gen/mandate/v1/tenant_pb.ts';
import { clientOf } from '../client.ts';
import { ExitCode, globalsOf, print, printJson, printTable, warn } from '../terminal/output.ts';
import { wholeNumber } from '../terminal/values.ts';
import { visible } from '../terminal/visible.ts';

export const meterCommands = (): Command =>
  new Command('meter')
    .description('what a tenant counts of its decisions')
    .addCommand(list())
    .addCommand(rebuild());

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

const rebuild = (): Command =>
  new Command('rebuild')
    .description('compare what was counted with what the log says; with --apply, set the counts right')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('--meter <name>', 'of this one alone')
    .option('--apply', 'set them right, with a record of it', false)
    .addHelpText(
      'after',
      '\nExit code 0: they are the same, or were set right. 1: they differ.\n\nExample:\n  $ mandate meter rebuild -t acme\n',
    )
    .action(
      async (
        { tenant, meter = '', apply }: { tenant: string; meter?: string; apply: boolean },
        command: Command,
      ) => {
        const globals = globalsOf(command);
        const answer = await clientOf(TenantService, 'admin', globals).rebuildUsage({ tenant, meter, apply });
        if (answer.differing > answer.applied) process.exitCode = ExitCode.deny;
        const differences = answer.differences.map((each) => ({
          meter: each.meter,
          for: each.countedFor,
          since: each.since ? timestampDate(each.since).toISOString() : '',
          counted: each.counted,
          recorded: each.recorded,
        }));
        const { partial, ...sums } = answer;
        if (globals.json)
          return printJson({
            records: sums.records,
            differing: sums.differing,
            differences,
            partial,
            applied: sums.applied,
          });
        if (differences.length > 0)
          printTable(
            ['METER', 'FOR', 'SINCE', 'COUNTED', 'RECORDED'],
            differences.map((each) => [
              visible(each.meter),
              visible(each.for),
              each.since,
              String(each.counted),
              String(each.recorded),
            ]),
          );
        if (partial.length > 0)
          warn(`mandate: the log has not all that ${partial.join(', ')} count: nothing of them is lowered`);
        print(`${sums.records} records, ${sums.differing} counts differ, ${sums.applied} were set right`);
      },
    );
