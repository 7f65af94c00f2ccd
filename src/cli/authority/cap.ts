import type { JsonObject } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import { Command, Option } from 'commander';
import { DelegationService } from '../../gen/mandate/v1/delegation_pb.ts';
import type { TaskCap } from '../../gen/mandate/v1/model_pb.ts';
import { clientOf } from '../client.ts';
import { globalsOf, printFields, printJson } from '../terminal/output.ts';
import { budgetOption, duration, jsonObjects } from '../terminal/values.ts';

interface Options {
  readonly tenant: string;
  readonly lifetime?: number;
  readonly scope?: string;
  readonly use?: string;
  readonly authorizationDetails?: JsonObject[];
  readonly budget?: Record<string, number>;
  readonly reason?: string;
}

export const cap = (): Command =>
  new Command('cap')
    .description('narrow a task that goes on, with every token that came of it; nothing widens it again')
    .argument('<task-id>')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('--lifetime <time>', 'it ends no later than that from now, such as 30m', duration)
    .option('--scope <scopes>', 'separated by spaces: only these are left')
    .addOption(new Option('--use <class>', 'what it is for at most').choices(['read', 'suggest', 'act']))
    .option(
      '--authorization-details <json>',
      'an array: of each type the numbers that its details are good for at most',
      jsonObjects,
    )
    .option('--budget <meter=most>', 'how much it may come to by a meter; again for others', budgetOption)
    .option('--reason <text>', 'for the record, such as the number of an incident')
    .addHelpText(
      'after',
      '\nThe agents that act in the task may do it, and operators. Their tokens are good for what is left from the next request on.\n\nExample:\n  $ mandate task cap -t acme "$TASK_ID" --scope docs.read --use read --lifetime 30m\n',
    )
    .action(async (taskId: string, options: Options, command: Command) => {
      const globals = globalsOf(command);
      const left = await clientOf(DelegationService, 'data', globals).capTask({
        tenant: options.tenant,
        taskId,
        lifetimeSeconds: options.lifetime ?? 0,
        scopes: (options.scope ?? '').split(' ').filter((each) => each !== ''),
        use: options.use ?? '',
        authorizationDetails: options.authorizationDetails ?? [],
        budget: options.budget ?? {},
        reason: options.reason ?? '',
      });
      const ends = left.endsAt ? timestampDate(left.endsAt).toISOString() : '';
      const scope = left.scopes.join(' ');
      if (globals.json)
        return printJson({
          task_id: taskId,
          scope,
          use: left.use,
          authorization_details: left.authorizationDetails,
          ...(Object.keys(left.budget).length > 0 && { budget: left.budget }),
          ends_at: ends,
        });
      printFields([
        ['scope', scope],
        ['use', left.use],
        ...left.authorizationDetails.map((each): [string, string] => ['details', JSON.stringify(each)]),
        ...Object.entries(left.budget).map(([name, most]): [string, string] => [
          'budget',
          `${name}: ${most}`,
        ]),
        ['ends', ends],
      ]);
    });

/** What a task was capped to, as it stands in records. */
export const capJson = ({
  cappedAt,
  endsAt,
  scopes,
  use,
  authorizationDetails: details,
  budget,
}: TaskCap) => ({
  ...(cappedAt && { at: timestampDate(cappedAt).toISOString() }),
  ...(endsAt && { ends_at: timestampDate(endsAt).toISOString() }),
  ...(scopes.length > 0 && { scope: scopes }),
  ...(use !== '' && { use }),
  ...(details.length > 0 && { authorization_details: details }),
  ...(Object.keys(budget).length > 0 && { budget }),
});
