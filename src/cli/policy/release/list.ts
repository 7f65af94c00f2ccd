import { Command } from 'commander';
import { createTwoFilesPatch } from 'diff';
import { type KeptRevision, PolicyService } from '../../../gen/mandate/v1/policy_pb.ts';
import { clientOf } from '../../client.ts';
import {
  type GlobalOptions,
  globalsOf,
  print,
  printFields,
  printJson,
  printTable,
} from '../../terminal/output.ts';
import { wholeNumber } from '../../terminal/values.ts';
import { visibleLines } from '../../terminal/visible.ts';
import { documentOf, fieldsOf, HEAD, lineOf, short } from './shown.ts';

interface Options {
  readonly tenant: string;
}

const ofTenant = (command: Command): Command => command.requiredOption('-t, --tenant <id>', 'the tenant');

export const list = (): Command =>
  ofTenant(new Command('list'))
    .description('the revisions that are kept, the newest first')
    .option('-n, --limit <count>', 'how many', wholeNumber(1, 1_000), 20)
    .addHelpText('after', '\nExample:\n  $ mandate policy list -t acme\n')
    .action(async ({ tenant, limit }: Options & { limit: number }, command: Command) => {
      const globals = globalsOf(command);
      const { revisions } = await clientOf(PolicyService, 'admin', globals).listRevisions({ tenant, limit });
      if (globals.json) printJson(revisions.map(documentOf));
      else printTable(HEAD, revisions.map(lineOf));
    });

export const show = (): Command =>
  ofTenant(new Command('show'))
    .description('a revision: who brought it, what its tests came to, and with --files what it was made from')
    .argument('[revision]', 'its beginning will do; left out, the active one')
    .option('--files', 'print the files too')
    .addHelpText('after', '\nExample:\n  $ mandate policy show -t acme --files\n')
    .action(async (name: string | undefined, options: Options & { files?: boolean }, command: Command) => {
      const globals = globalsOf(command);
      const revision = await revisionOf(globals, options.tenant, name ?? '', options.files === true);
      if (globals.json)
        return printJson({
          ...documentOf(revision),
          ...(options.files ? { contents: textsOf(revision) } : {}),
        });
      printFields(fieldsOf(revision));
      if (!options.files) return;
      for (const [path, text] of Object.entries(textsOf(revision))) print(`\n=== ${path}\n${text.trimEnd()}`);
    });

export const diff = (): Command =>
  ofTenant(new Command('diff'))
    .description('what one revision has otherwise than another, file by file')
    .argument('<revision>', 'its beginning will do')
    .argument('[other]', 'left out: the active one, and what <revision> would change of it')
    .addHelpText('after', '\nExample:\n  $ mandate policy diff -t acme sha256:4f1d2c3b5a69\n')
    .action(async (name: string, other: string | undefined, { tenant }: Options, command: Command) => {
      const globals = globalsOf(command);
      const [one, two] = await Promise.all([
        revisionOf(globals, tenant, other === undefined ? '' : name, true),
        revisionOf(globals, tenant, other ?? name, true),
      ]);
      const patch = patchOf(one, two);
      if (globals.json) printJson({ from: one.revision, to: two.revision, patch });
      else process.stdout.write(visibleLines(patch || `${short(two.revision)} changes no file\n`));
    });

async function revisionOf(
  globals: GlobalOptions,
  tenant: string,
  revision: string,
  withContents: boolean,
): Promise<KeptRevision> {
  const answer = await clientOf(PolicyService, 'admin', globals).getRevision({
    tenant,
    revision,
    withContents,
  });
  return answer.revision as KeptRevision;
}

const textsOf = ({ files }: KeptRevision): Record<string, string> =>
  Object.fromEntries(files.map(({ path, content }) => [path, new TextDecoder().decode(content)]));

/** A unified diff of all files that differ. */
function patchOf(one: KeptRevision, two: KeptRevision): string {
  const [before, after] = [textsOf(one), textsOf(two)];
  const paths = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  return paths
    .filter((path) => before[path] !== after[path])
    .map((path) =>
      createTwoFilesPatch(
        before[path] === undefined ? '/dev/null' : `a/${path}`,
        after[path] === undefined ? '/dev/null' : `b/${path}`,
        before[path] ?? '',
        after[path] ?? '',
        short(one.revision),
        short(two.revision),
        {
          context: 3,
          headerOptions: { includeIndex: false, includeUnderline: false, includeFileHeaders: true },
        },
      ),
    )
    .join('');
}
