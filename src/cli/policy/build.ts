import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Command } from 'commander';
import { ServiceError } from '../../errors.ts';
import { globalsOf, print, printJson } from '../terminal/output.ts';
import { compilerOf, configuration, limitsOf, ROOT_FLAG, ROOT_HELP, readIn, refuse } from './folder.ts';

export const buildCommand = (): Command =>
  new Command('build')
    .description(
      "write a tenant's policy as an OPA bundle, the same bytes each time; exits 1 with file and line if it does not compile",
    )
    .argument('<folder>', 'a folder with a tenant.yaml')
    .option('-o, --output <file>', 'where to', 'bundle.tar.gz')
    .option('--signing-key <file>', 'sign it for OPA, with a private key in PEM (RSA, P-256 or P-384)')
    .option(ROOT_FLAG, ROOT_HELP)
    .addHelpText('after', '\nExample:\n  $ mandate policy build policies/acme -o acme.tar.gz\n')
    .action(async (folder: string, options: BuildOptions, command: Command) => {
      const { json = false } = globalsOf(command);
      try {
        await build(folder, options, json);
      } catch (error) {
        refuse(error, folder, json);
      }
    });

interface BuildOptions {
  readonly output: string;
  readonly signingKey?: string;
  readonly root?: string;
}

/** A key is a few kilobytes. */
const MAX_KEY = 64 * 1024;

async function build(folder: string, options: BuildOptions, json: boolean): Promise<void> {
  const { output, signingKey, root } = options;
  const pem = signingKey === undefined ? undefined : await keyIn(signingKey);
  const { sources, manifest } = await readIn(folder, root);
  const bundle = await (await compilerOf()).compile(sources);
  const { prove } = await import('../../policy/proof.ts');
  prove(bundle, await limitsOf(manifest));
  const { bundleFiles, packed } = await import('../../policy/exported.ts');
  const { readPlatform } = await import('../../policy/opa/platform.ts');
  const { signed } = await import('../../policy/signing.ts');
  const { home, opa } = await configuration();
  const files = bundleFiles(bundle, sources, await readPlatform(path.join(home, 'policies')));
  const archive = pem === undefined ? await packed(files) : await signed(files, pem, opa);
  await write(output, archive);
  const { sha256 } = await import('../../policy/bundle.ts');
  const digest = sha256(archive);
  if (json)
    return printJson({
      ok: true,
      revision: bundle.revision,
      file: output,
      sha256: digest,
      signed: pem !== undefined,
    });
  print(`ok  ${bundle.revision}\n    ${output}  sha256:${digest}${pem === undefined ? '' : '  signed'}`);
}

async function keyIn(file: string): Promise<string> {
  const bytes = await readFile(file).catch((cause: Error) => {
    throw new ServiceError('invalid_request', `--signing-key: ${cause.message}`, { cause });
  });
  if (bytes.length > MAX_KEY) throw new ServiceError('invalid_request', `--signing-key: ${file} is no key`);
  return bytes.toString('utf8');
}

/** Whole or not at all. */
async function write(file: string, bytes: Uint8Array): Promise<void> {
  const aside = `${file}.${process.pid}.tmp`;
  try {
    await writeFile(aside, bytes, { flag: 'wx' });
    await rename(aside, file);
  } catch (cause) {
    await rm(aside, { force: true });
    throw new ServiceError('invalid_request', `--output: ${(cause as Error).message}`, { cause });
  }
}
