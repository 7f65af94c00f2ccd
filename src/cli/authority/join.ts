import type { JsonObject } from '@bufbuild/protobuf';
import { Command, Option } from 'commander';
import { DelegationService } from '../../gen/mandate/v1/delegation_pb.ts';
import { clientOf } from '../client.ts';
import { globalsOf, print, printJson } from '../terminal/output.ts';
import { duration, jsonObjects, keyed } from '../terminal/values.ts';

const TASK = 'urn:mandate:params:oauth:token-type:task';

interface Options {
  readonly tenant: string;
  readonly agent: string;
  readonly audience: string;
  readonly scope: string;
  readonly use?: string;
  readonly authorizationDetails?: JsonObject[];
  readonly lifetime?: number;
}

export const join = (): Command =>
  new Command('join')
    .description('let another agent into a task of yours; prints the id by which that one gets tokens')
    .argument('<task-id>')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .requiredOption('--agent <id>', 'who is to join')
    .requiredOption('--audience <name>', 'a target that it gets tokens for')
    .requiredOption('--scope <scopes>', 'separated by spaces; no more than the task has')
    .addOption(new Option('--use <class>', 'what it is for at most').choices(['read', 'suggest', 'act']))
    .option('--authorization-details <json>', 'an array of details (RFC 9396)', jsonObjects)
    .option('--lifetime <time>', 'until when, such as 1h; left out, as long as the task', duration)
    .addHelpText(
      'after',
      '\nThe agent that joined uses the id with its own credential: "mandate task renew". To end its part alone: "mandate task end" with that id.\n\nExample:\n  $ mandate --credential "$AGENT_SECRET" task join -t acme "$TASK_ID" --agent translator --audience docs-mcp --scope docs.read\n',
    )
    .action(async (task: string, options: Options, command: Command) => {
      const globals = globalsOf(command);
      const [cls, id] = options.agent.includes(':')
        ? keyed(options.agent, '--agent', 'an id, or agent:id')
        : ['agent', options.agent];
      const answer = await clientOf(DelegationService, 'data', globals).exchange({
        tenant: options.tenant,
        subjectToken: task,
        subjectTokenType: TASK,
        requestedTokenType: TASK,
        mayAct: { class: cls, id },
        audience: options.audience,
        scopes: options.scope.split(' ').filter((each) => each !== ''),
        use: options.use ?? '',
        authorizationDetails: options.authorizationDetails ?? [],
        lifetimeSeconds: options.lifetime ?? 0,
      });
      if (!globals.json) return print(answer.accessToken);
      printJson({
        id: answer.accessToken,
        expires_in: answer.expiresInSeconds,
        scope: answer.scopes.join(' '),
        use: answer.use,
        task_id: answer.taskId,
        task_expires_in: answer.taskExpiresInSeconds,
        decision_id: answer.decisionId,
        record_index: answer.recordIndex,
      });
    });
