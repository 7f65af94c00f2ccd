import { Command, Option } from 'commander';
import { PolicyService } from '../../../gen/mandate/v1/policy_pb.ts';
import { clientOf } from '../../client.ts';
import { globalsOf, print, printJson } from '../../terminal/output.ts';
import { ROOT_FLAG, ROOT_HELP, readIn } from '../folder.ts';
import { activated } from './activate.ts';
import { patient } from './patience.ts';
import { documentOf, short, testsOf } from './shown.ts';

interface PushOptions {
  readonly tenant: string;
  readonly message?: string;
  readonly parent?: string;
  readonly activate?: boolean;
  readonly draft?: boolean;
  readonly root?: string;
}

export const push = (): Command =>
  new Command('push')
    .description(
      "compile a folder's Rego and data on the server, run its tests, and keep the revision; exits 2 with file and line if it cannot",
    )
    .argument('<folder>', 'a folder with a tenant.yaml, which itself is not pushed')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('-m, --message <text>', 'why, for whoever reads the list')
    .option('--parent <revision>', 'what was active when you began: refused if another one is by now')
    .addOption(
      new Option('--draft', 'keep it without running its tests; "policy validate" runs them').conflicts(
        'activate',
      ),
    )
    .option('--activate', 'make it active too')
    .option(ROOT_FLAG, ROOT_HELP)
    .addHelpText('after', '\nExample:\n  $ mandate policy push -t acme policies/acme -m "agents may read"\n')
    .action(async (folder: string, options: PushOptions, command: Command) => {
      const globals = patient(globalsOf(command));
      const { sources } = await readIn(folder, options.root);
      const { revision } = await clientOf(PolicyService, 'admin', globals).pushRevision({
        tenant: options.tenant,
        files: sources.files.map(({ path, bytes }) => ({ path, content: Uint8Array.from(bytes) })),
        message: options.message ?? '',
        parent: options.parent ?? '',
        activate: options.activate === true,
        draft: options.draft === true,
      });
      if (!revision) return;
      if (globals.json) return printJson(documentOf(revision));
      if (options.activate) return activated(options.tenant, revision);
      const isDraft = revision.state === 'draft';
      print(
        `${short(revision.revision)} is kept${isDraft ? ' as a draft' : `; tests: ${testsOf(revision)}`}`,
      );
    });

export const validate = (): Command =>
  new Command('validate')
    .description('run the tests of a draft on the server; exits 2 with file and line if they fail')
    .argument('<revision>', 'as "policy list" shows it; its beginning will do')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .addHelpText('after', '\nExample:\n  $ mandate policy validate -t acme sha256:4f1d2c3b5a69\n')
    .action(async (name: string, { tenant }: { tenant: string }, command: Command) => {
      const globals = patient(globalsOf(command));
      const client = clientOf(PolicyService, 'admin', globals);
      const { revision } = await client.validateRevision({ tenant, revision: name });
      if (!revision) return;
      if (globals.json) return printJson(documentOf(revision));
      print(`${short(revision.revision)} is ${revision.state}; tests: ${testsOf(revision)}`);
    });
