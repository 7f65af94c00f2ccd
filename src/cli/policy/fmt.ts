import { isUtf8 } from 'node:buffer';
import { chmod, rename, rm, stat, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { Command } from 'commander';
import { createTwoFilesPatch } from 'diff';
import { ServiceError } from '../../errors.ts';
import type { RunOpa } from '../../policy/opa/child.ts';
import { ExitCode, globalsOf, print, printJson } from '../terminal/output.ts';
import { configuration, placeIn } from './folder.ts';
import { marked } from './marked.ts';

export const fmtCommand = (): Command =>
  new Command('fmt')
    .description(
      "name the Rego files of tenant folders that OPA's formatter would change; exits 1 if there are any",
    )
    .argument('<folder...>', 'folders with a tenant.yaml')
    .option('--check', 'name them: what is done without an option')
    .option('--diff', 'print what would change')
    .option('--write', 'change them')
    .addHelpText('after', '\nExample:\n  $ mandate policy fmt policies/acme --diff\n')
    .action(async (folders: string[], options: FmtOptions, command: Command) => {
      const { json = false } = globalsOf(command);
      if ([options.check, options.diff, options.write].filter(Boolean).length > 1)
        throw new ServiceError('invalid_request', 'one of --check, --diff and --write');
      const reports: Formatted[] = [];
      for (const folder of folders) reports.push(...(await formattedIn(folder, options)));
      for (const each of reports) if (!json) show(each, options);
      if (json) printJson(reports.map(({ text: _text, original: _original, ...told }) => told));
      process.exitCode = reports.some(({ problem }) => problem !== undefined || !options.write)
        ? ExitCode.deny
        : ExitCode.allow;
    });

interface FmtOptions {
  readonly check?: boolean;
  readonly diff?: boolean;
  readonly write?: boolean;
}

/** A file that is not as the formatter has it. */
interface Formatted {
  readonly folder: string;
  /** Relative to the folder. */
  readonly file: string;
  readonly original?: string;
  readonly text?: string;
  /** It cannot be formatted. */
  readonly problem?: { readonly line: number; readonly column?: number; readonly message: string };
}

const NOT_TEXT = { problem: { line: 0, message: 'this is not UTF-8' } };

/** The tenant's own files alone: what a link leads to is formatted where it is. Throws `config_invalid`. */
async function formattedIn(folder: string, { write = false }: FmtOptions): Promise<Formatted[]> {
  placeIn(folder);
  const { list } = await import('../../tenancy/folder/list.ts');
  const { identityAt, readRegular } = await import('../../tenancy/folder/open.ts');
  const { MAX_REGO_BYTES, MAX_REGO_FILES } = await import('../../tenancy/folder/read.ts');
  const { confined } = await import('../../policy/opa/child.ts');
  const { files, faults } = await list({ folder, root: folder });
  const [fault] = faults;
  if (fault) throw new ServiceError('config_invalid', `${path.join(folder, fault.file)}: ${fault.problem}`);
  const rego = [...files].filter(([name]) => name.endsWith('.rego'));
  if (rego.length > MAX_REGO_FILES)
    throw new ServiceError('config_invalid', `${folder} holds more than ${MAX_REGO_FILES} Rego files`);
  return confined((await configuration()).opa, os.tmpdir(), async (run) => {
    const found: Formatted[] = [];
    for (const [file, real] of rego) {
      const { bytes, identity } = await readRegular(real, MAX_REGO_BYTES);
      const original = bytes.toString('utf8');
      const formatted = isUtf8(bytes) ? await formattedText(original, run) : NOT_TEXT;
      if ('text' in formatted && formatted.text === original) continue;
      found.push({ folder, file, original, ...formatted });
      if (!write || !('text' in formatted)) continue;
      if ((await identityAt(real)) !== identity)
        throw new ServiceError('unavailable', `${path.join(folder, file)} changed meanwhile`);
      await replace(real, formatted.text);
    }
    return found;
  });
}

/** The formatter is given the text and no name, so it opens nothing. */
async function formattedText(
  original: string,
  run: RunOpa,
): Promise<Pick<Formatted, 'problem'> | { text: string }> {
  const { code, stdout, stderr } = await run(['fmt'], original);
  if (code === 0) return { text: stdout };
  const { diagnosticsOf } = await import('../../policy/diagnostics.ts');
  const [first] = diagnosticsOf(stderr.replace(/^(?:.*?)(?:stdin)?:(\d+): /gm, 'stdin.rego:$1: '));
  const { line = 0, message = 'it cannot be parsed' } = first ?? {};
  return { problem: { line, message } };
}

/** Whole or not at all, with the permissions that it has. */
async function replace(real: string, text: string): Promise<void> {
  const aside = path.join(path.dirname(real), `..fmt-${process.pid}-${path.basename(real)}`);
  try {
    await writeFile(aside, text, { flag: 'wx' });
    await chmod(aside, (await stat(real)).mode);
    await rename(aside, real);
  } catch (error) {
    await rm(aside, { force: true });
    throw error;
  }
}

function show({ folder, file, original = '', text, problem }: Formatted, { diff = false }: FmtOptions): void {
  const name = path.join(folder, file);
  if (problem) return print(marked({ file, ...problem }, folder));
  if (!diff || text === undefined) return print(name);
  // As `git apply -p1` takes it.
  print(
    createTwoFilesPatch(`a/${name}`, `b/${name}`, original, text, undefined, undefined)
      .replace(/^=+\n/, '')
      .trimEnd(),
  );
}
