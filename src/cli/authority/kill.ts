import { timestampDate } from '@bufbuild/protobuf/wkt';
import { Command } from 'commander';
import {
  type CredentialRef,
  type KilledTarget,
  type KillRequest,
  KillService,
} from '../../gen/mandate/v1/kill_pb.ts';
import { clientOf } from '../client.ts';
import { globalsOf, print, printJson, printTable } from '../terminal/output.ts';
import { keyed } from '../terminal/values.ts';

interface Options {
  readonly tenant: string;
  readonly reason?: string;
}

/** A target as the message has it: principals may be plain. */
type Target =
  | Exclude<KillRequest['target'], { case: 'subject' | 'credential' } | { case: undefined }>
  | { readonly case: 'subject'; readonly value: { readonly class: string; readonly id: string } }
  | { readonly case: 'credential'; readonly value: Pick<CredentialRef, 'class' | 'id' | 'credentialId'> };

export const killCommands = (): Command =>
  new Command('kill')
    .description('end what was delegated, at once and for good, with all that came from it')
    .addCommand(
      killOf('token', '<token>', 'end the grant of a token of ours', '"$TOKEN"', (value) => ({
        case: 'token',
        value,
      })),
    )
    .addCommand(
      killOf('grant', '<grant-id>', 'end a grant', '"$GRANT_ID"', (value) => ({ case: 'grantId', value })),
    )
    .addCommand(
      // A task is a grant.
      killOf('task', '<task-id>', 'end a task', '"$TASK_ID"', (value) => ({ case: 'grantId', value })),
    )
    .addCommand(
      killOf(
        'agent',
        '<id>',
        'disable an agent and end all that was granted to it or through it',
        'research-agent',
        (value) => ({ case: 'agent', value }),
      ),
    )
    .addCommand(
      killOf(
        'subject',
        '<class:id>',
        'disable a principal and end all that was granted on its behalf, to it or through it',
        'user:alice',
        (text) => {
          const [cls, id] = keyed(text, 'the subject', 'class:id');
          return { case: 'subject', value: { class: cls, id } };
        },
      ),
    )
    .addCommand(
      killOf(
        'issuer',
        '<issuer>',
        'take no token of an issuer any more, and end all that came from one',
        'https://login.acme.example',
        (value) => ({ case: 'issuer', value }),
      ),
    )
    .addCommand(killCredential())
    .addCommand(killTenant())
    .addCommand(list());

const withOptions = (command: Command): Command =>
  command
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('--reason <text>', 'for the record, such as the number of an incident');

const killOf = (
  what: string,
  argument: string,
  description: string,
  example: string,
  targetOf: (text: string) => Target,
): Command =>
  withOptions(new Command(what).description(description).argument(argument))
    .addHelpText('after', `\nExample:\n  $ mandate kill ${what} -t acme --reason INC-7 ${example}\n`)
    .action((text: string, options: Options, command: Command) => kill(command, options, targetOf(text)));

const refOf = (principal: string, credentialId: string): Target & { case: 'credential' } => {
  const [cls, id] = keyed(principal, 'the principal', 'class:id');
  return { case: 'credential', value: { class: cls, id, credentialId } };
};

const ofCredential = (command: Command): Command =>
  withOptions(
    command
      .argument('<class:id>', 'whose it is')
      .argument('<credential>', 'its id, as "principal show" names it'),
  );

const killCredential = (): Command =>
  ofCredential(
    new Command('credential').description(
      "let nobody in by a credential any more, tenant.yaml's too, and end every grant of its principal",
    ),
  )
    .addHelpText(
      'after',
      '\nWhat it is stays dead wherever it stands, until `mandate restore credential`.\n\nExample:\n  $ mandate kill credential -t acme --reason INC-7 agent:research-agent 3b3c9d1bb1b5a6f7\n',
    )
    .action((principal: string, credential: string, options: Options, command: Command) =>
      kill(command, options, refOf(principal, credential)),
    );

const killTenant = (): Command =>
  withOptions(new Command('tenant').description('end every grant of a tenant and deny everything in it'))
    .addHelpText(
      'after',
      '\nNothing is exchanged, active or allowed in it until `mandate restore tenant`.\n\nExample:\n  $ mandate kill tenant -t acme --reason INC-7\n',
    )
    .action((options: Options, command: Command) =>
      kill(command, options, { case: 'wholeTenant', value: true }),
    );

async function kill(command: Command, { tenant, reason = '' }: Options, target: Target): Promise<void> {
  const globals = globalsOf(command);
  const { ended } = await clientOf(KillService, 'admin', globals).kill({ tenant, target, reason });
  if (globals.json) printJson({ ended });
  else print(`killed; ${ended} living grant${ended === 1 ? '' : 's'} ended`);
}

const list = (): Command =>
  new Command('list')
    .description('list what is killed until it is restored')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .addHelpText('after', '\nExample:\n  $ mandate kill list -t acme\n')
    .action(async ({ tenant }: { tenant: string }, command: Command) => {
      const globals = globalsOf(command);
      const { kills } = await clientOf(KillService, 'admin', globals).listKills({ tenant });
      const shown = kills.map(({ target, since }) => ({
        what: target.case === 'wholeTenant' ? 'tenant' : (target.case ?? ''),
        name: nameOf(target, tenant),
        since: since ? timestampDate(since).toISOString() : '',
      }));
      if (globals.json) printJson(shown);
      else
        printTable(
          ['KILLED', 'NAME', 'SINCE'],
          shown.map(({ what, name, since }) => [what, name, since]),
        );
    });

function nameOf({ case: kind, value }: KilledTarget['target'], tenant: string): string {
  if (kind === 'issuer') return value;
  return kind === 'credential' ? `${value.class}:${value.id} ${value.credentialId}` : tenant;
}

export const restoreCommands = (): Command =>
  new Command('restore')
    .description('take again what was killed; what had ended stays so')
    .addCommand(
      withOptions(new Command('issuer').description('take tokens of an issuer again').argument('<issuer>'))
        .addHelpText('after', '\nExample:\n  $ mandate restore issuer -t acme https://login.acme.example\n')
        .action((value: string, options: Options, command: Command) =>
          restore(command, options, { case: 'issuer', value }),
        ),
    )
    .addCommand(
      ofCredential(new Command('credential').description('let a principal in by a credential again'))
        .addHelpText(
          'after',
          '\nExample:\n  $ mandate restore credential -t acme agent:research-agent 3b3c9d1bb1b5a6f7\n',
        )
        .action((principal: string, credential: string, options: Options, command: Command) =>
          restore(command, options, refOf(principal, credential)),
        ),
    )
    .addCommand(
      withOptions(new Command('tenant').description('decide and grant in a tenant again'))
        .addHelpText('after', '\nExample:\n  $ mandate restore tenant -t acme\n')
        .action((options: Options, command: Command) =>
          restore(command, options, { case: 'wholeTenant', value: true }),
        ),
    );

async function restore(
  command: Command,
  { tenant, reason = '' }: Options,
  target: Extract<Target, { case: 'issuer' | 'wholeTenant' | 'credential' }>,
): Promise<void> {
  const globals = globalsOf(command);
  await clientOf(KillService, 'admin', globals).restore({ tenant, target, reason });
  if (globals.json) printJson({ restored: true });
  else print('restored');
}
