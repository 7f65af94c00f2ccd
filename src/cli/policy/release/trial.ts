import { timestampDate } from '@bufbuild/protobuf/wkt';
import { Command, InvalidArgumentError } from 'commander';
import { ServiceError } from '../../../errors.ts';
import { PolicyService } from '../../../gen/mandate/v1/policy_pb.ts';
import { clientOf } from '../../client.ts';
import { globalsOf, print, printJson, warn } from '../../terminal/output.ts';
import { activated } from './activate.ts';
import { documentOf as reportDocument, showChanges } from './replay.ts';
import { documentOf, short } from './shown.ts';

interface Options {
  readonly tenant: string;
  readonly end?: boolean;
}

interface ShadowOptions extends Options {
  readonly package?: string;
}

const ofTenant = (command: Command): Command =>
  command
    .argument('[revision]', 'as "policy list" shows it; its beginning will do')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('--end', 'end what is there');

export const shadow = (): Command =>
  ofTenant(new Command('shadow'))
    .description(
      'have a revision asked what the active one is asked, beside it; without a revision: what it would decide otherwise',
    )
    .option('--package <name>', 'of this package alone, and those below it; the others as they are active')
    .addHelpText(
      'after',
      '\nExample:\n  $ mandate policy shadow -t acme sha256:4f1d2c3b5a69 --package delegation\n',
    )
    .action(async (revision: string | undefined, options: ShadowOptions, command: Command) => {
      const { tenant, end, package: only = '' } = options;
      const globals = globalsOf(command);
      const client = clientOf(PolicyService, 'admin', globals);
      if (revision !== undefined || end) {
        const asked = { tenant, revision: end ? '' : (revision ?? ''), package: only };
        const { packages } = await client.setShadow(asked);
        if (globals.json)
          return printJson({ shadow: end ? null : revision, package: only || null, packages });
        if (end) return print('the shadow is ended');
        const what = only === '' ? short(revision ?? '') : `${only} of ${short(revision ?? '')}`;
        print(`${what} is asked beside what is active`);
        return print(
          packages.length === 0 ? 'its packages are the same' : `it differs in ${packages.join(', ')}`,
        );
      }
      if (only !== '') throw new ServiceError('invalid_request', '--package: of which revision?');
      const {
        revision: name,
        package: part,
        since,
        report,
        behind,
        problem,
      } = await client.getShadow({ tenant });
      if (globals.json)
        return printJson({
          shadow: name || null,
          package: part || null,
          since: since ? timestampDate(since).toISOString() : null,
          behind,
          problem: problem || null,
          report: report ? reportDocument(report) : null,
        });
      if (name === '' || !report) return print('there is no shadow');
      if (problem !== '') warn(`mandate: ${problem}`);
      const from = since ? ` since ${timestampDate(since).toISOString()}` : '';
      print(
        `${part === '' ? '' : `${part} of `}${short(name)}: asked ${report.replayed} decisions${from}; ${report.changed} would be decided otherwise`,
      );
      if (report.partial > 0n)
        print(`${report.partial} were not whole in the log (masked, sealed or too long)`);
      if (behind > 0n) print(`${behind} records are still to come`);
      showChanges(report, tenant);
    });

interface StageOptions extends Options {
  readonly percent?: number;
  readonly principal?: string[];
}

function percent(text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (value >= 0 && value <= 100) return value;
  throw new InvalidArgumentError('It is between 0 and 100.');
}

export const stage = (): Command =>
  ofTenant(new Command('stage'))
    .description("let a revision decide for some of the tenant's principals")
    .option('--percent <share>', 'of all, always the same ones, and more of them as it grows', percent)
    .option('--principal <class:id...>', 'and for these')
    .addHelpText('after', '\nExample:\n  $ mandate policy stage -t acme sha256:4f1d2c3b5a69 --percent 5\n')
    .action(async (revision: string | undefined, options: StageOptions, command: Command) => {
      const globals = globalsOf(command);
      const { tenant, end, percent: share = 0, principal: principals = [] } = options;
      if (revision === undefined && !end)
        throw new ServiceError('invalid_request', 'name a revision, or --end');
      await clientOf(PolicyService, 'admin', globals).setStaged({
        tenant,
        revision: end ? '' : (revision ?? ''),
        share: { percent: share, principals },
      });
      if (globals.json) return printJson({ staged: end ? null : revision, percent: share, principals });
      const whom = [...(share > 0 ? [`${share} % of its principals`] : []), ...principals].join(', ');
      print(
        end ? `${tenant} decides for all by what is active` : `${short(revision ?? '')} decides for ${whom}`,
      );
    });

export const promote = (): Command =>
  new Command('promote')
    .description('make the staged revision active for all')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .addHelpText('after', '\nExample:\n  $ mandate policy promote -t acme\n')
    .action(async ({ tenant }: Options, command: Command) => {
      const globals = globalsOf(command);
      const client = clientOf(PolicyService, 'admin', globals);
      const { revisions } = await client.listRevisions({ tenant, limit: 1_000 });
      const staged = revisions.find(({ state }) => state === 'staged');
      if (!staged) throw new ServiceError('not_found', `nothing of ${tenant} is staged`);
      const { revision } = await client.activateRevision({ tenant, revision: staged.revision });
      if (!revision) return;
      if (globals.json) printJson(documentOf(revision));
      else activated(tenant, revision);
    });
