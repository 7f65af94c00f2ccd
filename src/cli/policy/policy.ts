import { Command } from 'commander';
import { globalsOf, print, printJson, warn } from '../terminal/output.ts';
import { evalCommand } from './eval.ts';
import { compilerOf, limitsOf, ROOT_FLAG, ROOT_HELP, readIn, refuse } from './folder.ts';
import { activate, reload, rollback } from './release/activate.ts';
import { diff, list, show } from './release/list.ts';
import { push } from './release/push.ts';
import { replay } from './release/replay.ts';
import { promote, shadow, stage } from './release/trial.ts';
import { testCommand } from './test.ts';

export function policyCommands(): Command {
  return new Command('policy')
    .description("check and test a tenant's Rego without a server, and release it on one")
    .addCommand(check())
    .addCommand(testCommand())
    .addCommand(evalCommand())
    .addCommand(push())
    .addCommand(list())
    .addCommand(show())
    .addCommand(diff())
    .addCommand(replay())
    .addCommand(shadow())
    .addCommand(stage())
    .addCommand(promote())
    .addCommand(activate())
    .addCommand(rollback())
    .addCommand(reload());
}

const check = (): Command =>
  new Command('check')
    .description(
      'compile a tenant folder as the server would; exits 1 with file, line and message if it cannot',
    )
    .argument('<folder>', 'a folder with a tenant.yaml')
    .option(ROOT_FLAG, ROOT_HELP)
    .addHelpText('after', '\nExample:\n  $ mandate policy check policies/acme\n')
    .action(async (folder: string, options: { root?: string }, command: Command) => {
      const { json } = globalsOf(command);
      try {
        const { sources, manifest } = await readIn(folder, options.root);
        const bundle = await (await compilerOf()).compile(sources);
        const { prove } = await import('../../policy/proof.ts');
        prove(bundle, await limitsOf(manifest));
        if (json) printJson({ ok: true, revision: bundle.revision, files: bundle.files });
        else print([`ok  ${bundle.revision}`, ...bundle.files].join('\n    '));
        if (sources.modules.size === 0) warn(`mandate: ${folder} holds no Rego; every request is denied`);
      } catch (error) {
        refuse(error, folder, json);
      }
    });
