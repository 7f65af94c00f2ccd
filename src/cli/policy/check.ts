import { Command } from 'commander';
import { describe, ServiceError } from '../../errors.ts';
import { type Diagnostic, PolicyInvalid } from '../../policy/diagnostics.ts';
import { hasTests } from '../../policy/sources.ts';
import { ExitCode, globalsOf, print, printJson, warn } from '../terminal/output.ts';
import { compilerOf, limitsOf, ROOT_FLAG, ROOT_HELP, readIn } from './folder.ts';
import { marked } from './marked.ts';

export const checkCommand = (): Command =>
  new Command('check')
    .description(
      'compile tenant folders as the server would, and warn of names that their tenant.yaml does not have; exits 1 with file, line and column if one does not compile',
    )
    .argument('<folder...>', 'folders with a tenant.yaml')
    .option('--strict', 'exit 1 for a warning too')
    .option(ROOT_FLAG, ROOT_HELP)
    .addHelpText('after', '\nExample:\n  $ mandate policy check policies/acme\n')
    .action(async (folders: string[], options: CheckOptions, command: Command) => {
      const { json } = globalsOf(command);
      const reports: Report[] = [];
      for (const folder of folders) {
        const report = await reportOf(folder, options, folders.length > 1);
        reports.push(report);
        if (!json) showReport(report);
      }
      if (json) printJson(reports.length === 1 ? reports[0] : reports);
      process.exitCode = Math.max(...reports.map((each) => codeOf(each, options)));
    });

interface CheckOptions {
  readonly strict?: boolean;
  readonly root?: string;
}

type Found = Diagnostic & { readonly severity: 'error' | 'warning' | 'note' };

interface Report {
  readonly folder: string;
  readonly ok: boolean;
  readonly revision?: string;
  /** The Rego that decides. */
  readonly files?: readonly string[];
  readonly diagnostics: readonly Found[];
  /** Where it is no tenant's folder. */
  readonly error?: { readonly code: string; readonly message: string };
}

/** `isOneOfMany`: what is no tenant is told among the others, and hides none of them. */
export async function reportOf(
  folder: string,
  { root }: CheckOptions,
  isOneOfMany: boolean,
): Promise<Report> {
  try {
    const { sources, manifest } = await readIn(folder, root);
    const compiler = await compilerOf();
    const bundle = await compiler.compile(sources);
    const { prove } = await import('../../policy/proof.ts');
    prove(bundle, await limitsOf(manifest));
    const { askedIn } = await import('../../policy/testing/tables/asked.ts');
    await askedIn(sources, manifest.principals, 0);
    const { warningsOf } = await import('../../policy/naming/warnings.ts');
    const diagnostics: Found[] = await warningsOf(compiler, sources, manifest);
    if (sources.modules.size === 0)
      diagnostics.push(ofFolder('warning', 'it holds no Rego; every request is denied'));
    if (!hasTests(sources))
      diagnostics.push(ofFolder('note', 'it holds no tests (*_test.rego, *_test.yaml)'));
    return { folder, ok: true, revision: bundle.revision, files: bundle.files, diagnostics };
  } catch (error) {
    if (error instanceof PolicyInvalid)
      return {
        folder,
        ok: false,
        diagnostics: error.diagnostics.map((each) => ({ ...each, severity: 'error' })),
      };
    if (!isOneOfMany || !(error instanceof ServiceError)) throw error;
    const { code } = error;
    return { folder, ok: false, diagnostics: [], error: { code, message: describe(error) } };
  }
}

const ofFolder = (severity: 'warning' | 'note', message: string): Found => ({
  file: '.',
  line: 0,
  message,
  severity,
});

/** What is an answer goes to the output, what is worth knowing beside it. */
export function showReport({ folder, ok, revision, files = [], diagnostics, error }: Report): void {
  if (ok) print([`ok  ${revision}`, ...files].join('\n    '));
  if (error) warn(`mandate: ${error.code}: ${error.message}`);
  for (const each of diagnostics) {
    const told = marked(each, folder);
    if (each.severity === 'error') print(told);
    else warn(told);
  }
}

function codeOf({ ok, diagnostics, error }: Report, { strict = false }: CheckOptions): number {
  if (error) return ExitCode.error;
  const fails = !ok || (strict && diagnostics.some(({ severity }) => severity === 'warning'));
  return fails ? ExitCode.deny : ExitCode.allow;
}
