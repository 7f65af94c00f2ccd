import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { Command } from 'commander';
import { ServiceError } from '../errors.ts';
import type { Compiler } from '../policy/compiler.ts';
import { type Diagnostic, formatDiagnostic, PolicyInvalid } from '../policy/diagnostics.ts';
import { type PolicySources, readSources } from '../policy/sources.ts';
import { ExitCode, globalsOf, print, printJson } from './output.ts';

export function policyCommands(): Command {
  return new Command('policy')
    .description("check and test a tenant's Rego, without a server")
    .addCommand(check())
    .addCommand(test());
}

/** What only these commands need is loaded only for them: the others start in half the time without. */
async function compilerOf(): Promise<Compiler> {
  const { Compiler } = await import('../policy/compiler.ts');
  const { readConfig } = await import('../config.ts');
  const config = readConfig(process.env);
  return new Compiler({ opa: config.opa, policies: path.join(config.home, 'policies'), cache: undefined });
}

/** Throws `config_invalid` with the folder's name, where a system call would give no more than its error. */
async function sourcesIn(folder: string): Promise<PolicySources> {
  const found = statSync(folder, { throwIfNoEntry: false });
  if (!found) throw new ServiceError('config_invalid', `no such folder: ${folder}`);
  if (!found.isDirectory()) throw new ServiceError('config_invalid', `${folder} is not a folder`);
  if (!existsSync(path.join(folder, 'tenant.yaml')))
    throw new ServiceError('config_invalid', `${folder} holds no tenant.yaml`);
  const { readTenant } = await import('../tenancy/tenants.ts');
  return readSources(folder, readTenant(folder).manifest);
}

const check = (): Command =>
  new Command('check')
    .description(
      'compile a tenant folder as the server would; exits 1 with file, line and message if it cannot',
    )
    .argument('<folder>', 'a folder with a tenant.yaml')
    .addHelpText('after', '\nExample:\n  $ mandate policy check policies/acme\n')
    .action(async (folder: string, _options: unknown, command: Command) => {
      const { json } = globalsOf(command);
      const sources = await sourcesIn(folder);
      try {
        const bundle = await (await compilerOf()).compile(sources);
        if (json) printJson({ ok: true, revision: bundle.revision, files: bundle.files });
        else print([`ok  ${bundle.revision}`, ...bundle.files].join('\n    '));
        if (sources.modules.size === 0)
          process.stderr.write(`mandate: ${folder} holds no Rego; every request is denied\n`);
      } catch (error) {
        if (!(error instanceof PolicyInvalid)) throw error;
        if (json) printJson({ ok: false, diagnostics: error.diagnostics });
        else for (const each of error.diagnostics) print(formatDiagnostic(placed(each, folder, sources)));
        process.exitCode = ExitCode.deny;
      }
    });

/** As the author finds it. What is not among the tenant's files is the platform's, which is in none of its folders. */
const placed = (diagnostic: Diagnostic, folder: string, { modules, tests }: PolicySources): Diagnostic =>
  modules.has(diagnostic.file) || tests.has(diagnostic.file)
    ? { ...diagnostic, file: path.join(folder, diagnostic.file) }
    : diagnostic;

const test = (): Command =>
  new Command('test')
    .description("run a tenant's Rego tests (*_test.rego) with OPA; exits 1 if one fails")
    .argument('<folder>', 'a folder with a tenant.yaml')
    .option('-v, --verbose', 'name every test')
    .option('--run <regex>', 'only tests of this name')
    .addHelpText('after', '\nExample:\n  $ mandate policy test policies/acme\n')
    .action(async (folder: string, options: { verbose?: boolean; run?: string }, command: Command) => {
      const { json } = globalsOf(command);
      const sources = await sourcesIn(folder);
      const args = [
        ...(json ? ['--format', 'json'] : []),
        ...(options.verbose ? ['--verbose'] : []),
        ...(options.run ? ['--run', options.run] : []),
      ];
      const { code, stdout, stderr } = await (await compilerOf()).test(sources, args);
      const wrong = /^error parsing regexp: (.+)/.exec(stderr)?.[1];
      if (wrong !== undefined) throw new ServiceError('invalid_request', `--run: ${wrong}`);
      process.stdout.write(authored(stdout, json ? '' : folder, sources));
      process.stderr.write(authored(stderr, folder, sources));
      if (sources.tests.size === 0) process.stderr.write(`mandate: ${folder} holds no *_test.rego\n`);
      // OPA is content with no test at all: a name that is mistyped would pass for ever.
      const missed = options.run !== undefined && code === 0 && NO_TESTS.has(stdout.trim());
      if (missed) process.stderr.write(`mandate: no test in ${folder} matches --run ${options.run}\n`);
      process.exitCode = code === 0 && !missed ? ExitCode.allow : ExitCode.deny;
    });

/** OPA's report where it ran none, as text and as JSON. */
const NO_TESTS: ReadonlySet<string> = new Set(['', '[]']);

/** OPA ran on copies in `tenant/`; the author knows the files by the folder that was named. */
const authored = (report: string, folder: string, { modules, tests }: PolicySources): string =>
  report.replace(/(?<![^\s"])tenant\/([^":\n]+\.rego)/g, (whole, name: string) =>
    modules.has(name) || tests.has(name) ? path.join(folder, name) : whole,
  );
