import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { Command } from 'commander';
import { ServiceError } from '../../errors.ts';
import type { PolicySources } from '../../policy/sources.ts';
import { ExitCode, globalsOf, print, printJson } from '../terminal/output.ts';
import { configuration, ROOT_FLAG, ROOT_HELP, readIn, refuse } from './folder.ts';
import { marked } from './marked.ts';

export const lintCommand = (): Command =>
  new Command('lint')
    .description(
      'lint the Rego of tenant folders with Regal, which "make regal" builds; exits 1 if it finds anything',
    )
    .argument('<folder...>', 'folders with a tenant.yaml')
    .option('--disable <rule...>', 'leave out rules, such as messy-rule')
    .option(ROOT_FLAG, ROOT_HELP)
    .addHelpText('after', '\nExample:\n  $ mandate policy lint policies/acme --disable messy-rule\n')
    .action(async (folders: string[], options: LintOptions, command: Command) => {
      const { json = false } = globalsOf(command);
      const found: (Finding & { folder: string })[] = [];
      for (const folder of folders)
        try {
          const { sources } = await readIn(folder, options.root);
          for (const each of await findings(sources, options)) {
            found.push({ folder, ...each });
            if (!json) print(marked({ ...each, message: `${each.rule}: ${each.message}` }, folder));
          }
        } catch (error) {
          refuse(error, folder, json);
          return;
        }
      if (json) printJson(found);
      process.exitCode = found.length > 0 ? ExitCode.deny : ExitCode.allow;
    });

interface LintOptions {
  readonly disable?: readonly string[];
  readonly root?: string;
}

interface Finding {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** `category/title`. */
  readonly rule: string;
  readonly message: string;
  readonly severity: 'warning';
}

interface Report {
  readonly violations?: readonly {
    readonly title: string;
    readonly category: string;
    readonly description: string;
    readonly location?: { readonly file?: string; readonly row?: number; readonly col?: number };
  }[];
}

/**
 * Regal sees copies of what the tenant's revision is made from, and the platform's Rego, so that what a policy imports is
 * there. It reads the project's configuration and no other, in a folder that holds nothing else.
 */
async function findings(sources: PolicySources, { disable = [] }: LintOptions): Promise<Finding[]> {
  const { home } = await configuration();
  const regal = process.env['MANDATE_REGAL'] ?? path.join(home, 'bin', 'regal');
  if (!existsSync(regal))
    throw new ServiceError(
      'config_invalid',
      `Regal is not at ${regal}; run "make regal", or set MANDATE_REGAL to a regal binary`,
    );
  const { layOut } = await import('../../policy/testing/compilation.ts');
  const { confined } = await import('../../policy/opa/child.ts');
  const folder = await mkdtemp(path.join(os.tmpdir(), 'mandate-lint-'));
  try {
    const policies = path.join(home, 'policies');
    for (const name of ['platform', 'lint', 'lint/rules']) {
      const files = (await readdir(path.join(policies, name))).filter((each) =>
        /\.(?:rego|yaml)$/.test(each),
      );
      for (const file of files)
        await layOut(path.join(folder, name), [
          [file, await readFile(path.join(policies, name, file), 'utf8')],
        ]);
    }
    await layOut(path.join(folder, 'tenant'), [...sources.modules, ...sources.tests]);
    const given = ['--format', 'json', '--config-file', 'lint/config.yaml', '--rules', 'lint/rules'];
    const without = disable.flatMap((rule) => ['--disable', rule]);
    const { code, stdout, stderr } = await confined(regal, folder, (run) =>
      run(['lint', ...given, ...without, 'tenant', 'platform']),
    );
    const report = reportIn(stdout);
    if (!report)
      throw new ServiceError('policy_invalid', `Regal ended with ${code}: ${stderr.trim().slice(0, 500)}`);
    return (report.violations ?? [])
      .filter(({ location }) => location?.file?.startsWith('tenant/'))
      .map(({ title, category, description, location = {} }) => ({
        file: (location.file ?? '').replace('tenant/', ''),
        line: location.row ?? 0,
        column: location.col ?? 1,
        rule: `${category}/${title}`,
        message: description,
        severity: 'warning' as const,
      }))
      .sort(
        (a, b) => (a.file < b.file ? -1 : Number(a.file > b.file)) || a.line - b.line || a.column - b.column,
      );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function reportIn(stdout: string): Report | undefined {
  try {
    return JSON.parse(stdout) as Report;
  } catch {
    return undefined;
  }
}
