import { Command } from 'commander';
import { ServiceError } from '../../../errors.ts';
import { type KeptRevision, PolicyService } from '../../../gen/mandate/v1/policy_pb.ts';
import { clientOf } from '../../client.ts';
import { globalsOf, print, printJson } from '../../terminal/output.ts';
import { wholeNumber } from '../../terminal/values.ts';
import { patient } from './patience.ts';
import { type ReplayOptions, replayed } from './replay.ts';
import { documentOf, short } from './shown.ts';

interface Options {
  readonly tenant: string;
  readonly expected?: string;
}

interface ActivateOptions extends Options, ReplayOptions {
  readonly maxChanges?: number;
}

export const activated = (tenant: string, { revision }: KeptRevision): void =>
  print(`${tenant} now decides by ${short(revision)}`);

const ofTenant = (command: Command): Command =>
  command
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('--expected <revision>', 'what is active now: refused if it is another one');

export const activate = (): Command =>
  ofTenant(new Command('activate'))
    .description('make a kept revision decide, at once and everywhere')
    .argument('<revision>', 'as "policy list" shows it; its beginning will do')
    .option(
      '--max-changes <count>',
      'replay it first, and refuse if it would decide more than so many records otherwise',
      wholeNumber(0),
    )
    .option('--last <count>', 'of the replay: the newest so many records (default 100000)', wholeNumber(1))
    .option('--since <when>', 'of the replay: from then on, a time, or an age such as 24h')
    .addHelpText(
      'after',
      '\nExample:\n  $ mandate policy activate -t acme sha256:4f1d2c3b5a69 --max-changes 10 --since 24h\n',
    )
    .action(async (revision: string, options: ActivateOptions, command: Command) => {
      const globals = patient(globalsOf(command));
      const { tenant, expected = '', maxChanges } = options;
      if (maxChanges !== undefined) {
        const { report } = await replayed(globals, revision, options);
        if (report.changed > maxChanges)
          throw new ServiceError(
            'conflict',
            `it would decide ${report.changed} of ${report.replayed} otherwise, and --max-changes is ${maxChanges}; "mandate policy replay" tells which`,
          );
      }
      const answer = await clientOf(PolicyService, 'admin', globals).activateRevision({
        tenant,
        revision,
        expected,
      });
      if (!answer.revision) return;
      if (globals.json) printJson(documentOf(answer.revision));
      else activated(tenant, answer.revision);
    });

export const rollback = (): Command =>
  ofTenant(new Command('rollback'))
    .description('make active again what was before')
    .addHelpText('after', '\nExample:\n  $ mandate policy rollback -t acme\n')
    .action(async ({ tenant, expected = '' }: Options, command: Command) => {
      const globals = patient(globalsOf(command));
      const answer = await clientOf(PolicyService, 'admin', globals).rollBack({ tenant, expected });
      if (!answer.revision) return;
      if (globals.json) printJson(documentOf(answer.revision));
      else activated(tenant, answer.revision);
    });

export const reload = (): Command =>
  new Command('reload')
    .description("read the tenant's folder again, on the server, and make it active if its tests pass")
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .addHelpText('after', '\nExample:\n  $ mandate policy reload -t acme\n')
    .action(async ({ tenant }: Options, command: Command) => {
      const globals = patient(globalsOf(command));
      const { changed, revision } = await clientOf(PolicyService, 'admin', globals).reloadPolicy({ tenant });
      const name = revision?.revision ?? '';
      if (globals.json) printJson({ changed, revision: name });
      else
        print(
          changed ? `${tenant} now decides by ${short(name)}` : `${tenant} decides by ${short(name)} still`,
        );
    });
