import { existsSync, lstatSync, statSync } from 'node:fs';
import path from 'node:path';
import { Command } from 'commander';
import type { Config } from '../config.ts';
import { ServiceError } from '../errors.ts';
import type { Compiler } from '../policy/compiler.ts';
import { type Diagnostic, formatDiagnostic, PolicyInvalid } from '../policy/diagnostics.ts';
import type { PolicySources } from '../policy/sources.ts';
import type { Manifest } from '../tenancy/manifest.ts';
import { ExitCode, globalsOf, print, printJson, warn } from './output.ts';
import { visibleJson, visibleLines } from './visible.ts';

export function policyCommands(): Command {
  return new Command('policy')
    .description("check and test a tenant's Rego, without a server")
    .addCommand(check())
    .addCommand(test());
}

/** What only these commands need is loaded only for them: the others start in half the time without. */
async function compilerOf(): Promise<Compiler> {
  const { Compiler } = await import('../policy/compiler.ts');
  const config = await configuration();
  return new Compiler({ opa: config.opa, policies: path.join(config.home, 'policies'), cache: undefined });
}

async function configuration(): Promise<Config> {
  const { readConfig } = await import('../config.ts');
  return readConfig(process.env);
}

interface Read {
  readonly sources: PolicySources;
  readonly manifest: Manifest;
}

/** Throws `config_invalid` with the folder's name, where a system call would give no more than its error. */
async function readIn(folder: string, root = folder): Promise<Read> {
  const found = statSync(folder, { throwIfNoEntry: false });
  if (!found) throw new ServiceError('config_invalid', `no such folder: ${folder}`);
  if (!found.isDirectory()) throw new ServiceError('config_invalid', `${folder} is not a folder`);
  if (!lstatSync(path.join(folder, 'tenant.yaml'), { throwIfNoEntry: false }))
    throw new ServiceError('config_invalid', `${folder} holds no tenant.yaml`);
  const { readTenant } = await import('../tenancy/tenants.ts');
  const { readTenantFiles } = await import('../tenancy/folder/read.ts');
  const { sourcesOf } = await import('../policy/sources.ts');
  const files = await readTenantFiles({ folder, root });
  const { manifest } = await readTenant(files);
  return { sources: await sourcesOf(files, manifest), manifest };
}

const ROOT_FLAG = '--root <folder>';
const ROOT_HELP =
  'what links may lead into, as where the server serves a folder of tenants; else the folder itself';

/** Prints what is wrong with a tenant's files, and makes the exit code say so; throws what is wrong with anything else. */
function refuse(error: unknown, folder: string, json = false): void {
  if (!(error instanceof PolicyInvalid)) throw error;
  if (json) printJson({ ok: false, diagnostics: error.diagnostics });
  else for (const each of error.diagnostics) print(formatDiagnostic(placed(each, folder)));
  process.exitCode = ExitCode.deny;
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
        const { limitsFor, prove } = await import('../policy/proof.ts');
        const { fuel, memory_mib: memoryMib } = await configuration();
        prove(bundle, limitsFor(manifest, { fuel, memoryMib }));
        if (json) printJson({ ok: true, revision: bundle.revision, files: bundle.files });
        else print([`ok  ${bundle.revision}`, ...bundle.files].join('\n    '));
        if (sources.modules.size === 0) warn(`mandate: ${folder} holds no Rego; every request is denied`);
      } catch (error) {
        refuse(error, folder, json);
      }
    });

/** As the author finds it. What is not among the tenant's files is the platform's, which is in none of its folders. */
const placed = (diagnostic: Diagnostic, folder: string): Diagnostic =>
  existsSync(path.join(folder, diagnostic.file))
    ? { ...diagnostic, file: path.join(folder, diagnostic.file) }
    : diagnostic;

const test = (): Command =>
  new Command('test')
    .description("run a tenant's Rego tests (*_test.rego) with OPA; exits 1 if one fails")
    .argument('<folder>', 'a folder with a tenant.yaml')
    .option('-v, --verbose', 'name every test')
    .option('--run <regex>', 'only tests of this name')
    .option(ROOT_FLAG, ROOT_HELP)
    .addHelpText('after', '\nExample:\n  $ mandate policy test policies/acme\n')
    .action(async (folder: string, options: TestOptions, command: Command) => {
      const { json } = globalsOf(command);
      try {
        await runTests(folder, options, json);
      } catch (error) {
        refuse(error, folder, json);
      }
    });

interface TestOptions {
  readonly verbose?: boolean;
  readonly run?: string;
  readonly root?: string;
}

async function runTests(folder: string, options: TestOptions, json = false): Promise<void> {
  const { sources } = await readIn(folder, options.root);
  const args = [
    ...(json ? ['--format', 'json'] : []),
    ...(options.verbose ? ['--verbose'] : []),
    ...(options.run ? ['--run', options.run] : []),
  ];
  const { code, stdout, stderr } = await (await compilerOf()).test(sources, args);
  const wrong = /^error parsing regexp: (.+)/.exec(stderr)?.[1];
  if (wrong !== undefined) throw new ServiceError('invalid_request', `--run: ${wrong}`);
  process.stdout.write((json ? visibleJson : visibleLines)(authored(stdout, json ? '' : folder, sources)));
  process.stderr.write(visibleLines(authored(stderr, folder, sources)));
  if (sources.tests.size === 0) warn(`mandate: ${folder} holds no *_test.rego`);
  // OPA is content with no test at all: a name that is mistyped would pass for ever.
  const missed = options.run !== undefined && code === 0 && NO_TESTS.has(stdout.trim());
  if (missed) warn(`mandate: no test in ${folder} matches --run ${options.run}`);
  process.exitCode = code === 0 && !missed ? ExitCode.allow : ExitCode.deny;
}

/** OPA's report where it ran none, as text and as JSON. */
const NO_TESTS: ReadonlySet<string> = new Set(['', '[]']);

/** OPA ran on copies in `tenant/`; the author knows the files by the folder that was named. */
const authored = (report: string, folder: string, { modules, tests }: PolicySources): string =>
  report.replace(/(?<![^\s"])tenant\/([^":\n]+\.rego)/g, (whole, name: string) =>
    modules.has(name) || tests.has(name) ? path.join(folder, name) : whole,
  );
