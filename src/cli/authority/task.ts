import { Command } from 'commander';
import { DelegationService } from '../../gen/mandate/v1/delegation_pb.ts';
import { GrantService } from '../../gen/mandate/v1/grant_pb.ts';
import { clientOf } from '../client.ts';
import { globalsOf, print, printFields, printJson, printTable } from '../terminal/output.ts';
import { wholeNumber } from '../terminal/values.ts';
import { cap } from './cap.ts';
import { asJson, drawTree, gathered, grantFields, nameOf, stateOf } from './grant.ts';
import { join } from './join.ts';

export const taskCommands = (): Command =>
  new Command('task')
    .description('tasks of agents: list, show, narrow and end them, let others join, and get fresh tokens')
    .addCommand(list())
    .addCommand(show())
    .addCommand(renew())
    .addCommand(join())
    .addCommand(cap())
    .addCommand(end());

const TASK = 'urn:mandate:params:oauth:token-type:task';

interface ListOptions {
  readonly tenant: string;
  readonly subject?: string;
  readonly actor?: string;
  readonly ended?: boolean;
  readonly limit: number;
}

const list = (): Command =>
  new Command('list')
    .description('list tasks that go on, those that end last first; an agent sees its own')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('--subject <class:id>', 'on whose behalf')
    .option('--actor <class:id>', 'which agent opened or joined it')
    .option('--ended', 'also those that are over, for a week')
    .option('--limit <count>', 'at most so many', wholeNumber(1, 1_000_000), 100)
    .addHelpText('after', '\nExample:\n  $ mandate task list -t acme --subject user:alice\n')
    .action(async (options: ListOptions, command: Command) => {
      const globals = globalsOf(command);
      const client = clientOf(GrantService, 'data', globals);
      const { grants, more } = await gathered(client, { ...options, tasks: true });
      if (globals.json) return printJson({ tasks: grants.map(asJson), more });
      printTable(
        ['TASK', 'SUBJECT', 'AGENT', 'STATE', 'PURPOSE'],
        grants.map((each) => [
          each.id,
          nameOf(each.subject),
          nameOf(each.actors[0]),
          `${stateOf(each)}${each.taskCap ? ', capped' : ''}`,
          each.taskPurpose,
        ]),
      );
      if (more) print(`and more: --limit ${options.limit * 10}`);
    });

const show = (): Command =>
  new Command('show')
    .description('show a task, and draw all that was granted in it')
    .argument('<task-id>')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .addHelpText('after', '\nExample:\n  $ mandate task show -t acme "$TASK_ID"\n')
    .action(async (id: string, { tenant }: { tenant: string }, command: Command) => {
      const globals = globalsOf(command);
      const client = clientOf(GrantService, 'data', globals);
      const { grant } = await client.getGrant({ tenant, id });
      if (!grant) return;
      if (!globals.json) printFields([['purpose', grant.taskPurpose], ...grantFields(grant)]);
      await drawTree(client, tenant, id, globals.json === true);
    });

const renew = (): Command =>
  new Command('renew')
    .description(
      'get a fresh token of a task that you opened or joined, without one of its subject; prints the token alone',
    )
    .argument('<task-id>', 'of who joined: the id that "mandate task join" printed')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .requiredOption('--audience <name>', 'the one target the token is for')
    .requiredOption('--scope <scopes>', 'separated by spaces; no more than the task has')
    .addHelpText(
      'after',
      '\nExample:\n  $ mandate --credential "$AGENT_SECRET" task renew -t acme "$TASK_ID" --audience docs-mcp --scope docs.read\n',
    )
    .action(
      async (id: string, options: { tenant: string; audience: string; scope: string }, command: Command) => {
        const globals = globalsOf(command);
        const answer = await clientOf(DelegationService, 'data', globals).exchange({
          tenant: options.tenant,
          subjectToken: id,
          subjectTokenType: TASK,
          audience: options.audience,
          scopes: options.scope.split(' ').filter((each) => each !== ''),
        });
        if (!globals.json) return print(answer.accessToken);
        printJson({
          access_token: answer.accessToken,
          expires_in: answer.expiresInSeconds,
          scope: answer.scopes.join(' '),
          grant_id: answer.grantId,
          task_id: answer.taskId,
          task_expires_in: answer.taskExpiresInSeconds,
          decision_id: answer.decisionId,
          record_index: answer.recordIndex,
        });
      },
    );

const end = (): Command =>
  new Command('end')
    .description('end a task, and every token that came of it')
    .argument('<task-id>')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .addHelpText('after', '\nExample:\n  $ mandate task end -t acme "$TASK_ID"\n')
    .action(async (id: string, { tenant }: { tenant: string }, command: Command) => {
      const globals = globalsOf(command);
      const { revoked } = await clientOf(DelegationService, 'data', globals).revoke({
        tenant,
        target: { case: 'grantId', value: id },
      });
      if (globals.json) printJson({ revoked });
      else
        print(
          revoked === 0
            ? 'no task of yours to end'
            : `task ended, ${revoked} grant${revoked === 1 ? '' : 's'} with it`,
        );
    });
