import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { Command } from 'commander';
import { systemRandom } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { Imported } from '../../policy/import/import.ts';
import { shown } from '../../tenancy/folder/names.ts';
import { newSecret } from '../../tenancy/registry/changes.ts';
import { checkId, make } from '../new-tenant.ts';
import { ExitCode, globalsOf, print, printFields, printJson } from '../terminal/output.ts';
import { reportOf, showReport } from './check.ts';
import { configuration } from './folder.ts';
import { ran } from './tests/ran.ts';
import { show } from './tests/shown.ts';

interface Options {
  readonly into: string;
  readonly id?: string;
  readonly decision?: string;
  readonly denials?: string;
  readonly verificationKey?: string;
  readonly skipVerification?: boolean;
  readonly v0?: boolean;
  readonly without: readonly string[];
}

export const importCommand = (): Command =>
  new Command('import')
    .description(
      'make a tenant of a repository or bundle that was written for OPA; exits 1 and writes nothing if a part of it cannot be taken',
    )
    .argument('<place>', 'a folder, or a bundle.tar.gz')
    .requiredOption('--into <folder>', 'where to make it')
    .option('--id <id>', "the tenant's id: 1 to 63 of a-z, 0-9 and - (default: the folder's name)")
    .option(
      '--decision <ref>',
      'the rule that decides, such as data.shop.authz.allow (default: the only allow)',
    )
    .option('--denials <ref>', 'decide by a set of denials, such as data.main.deny: what has none is allowed')
    .option('--verification-key <file>', 'verify its signature, by a public key in PEM (RSA, P-256 or P-384)')
    .option('--skip-verification', 'take what is signed without a key')
    .option('--v0', 'have OPA rewrite Rego of before OPA 1.0')
    .option(
      '--without <path>',
      'leave out a file or a folder; repeat for several',
      (each, all: string[]) => [...all, each],
      [],
    )
    .addHelpText('after', '\nExample:\n  $ mandate policy import ../shop/policies --into tenants/shop\n')
    .action((place: string, options: Options, command: Command) =>
      begin(place, options, globalsOf(command).json ?? false),
    );

async function begin(place: string, options: Options, json: boolean): Promise<void> {
  const { into, verificationKey } = options;
  const id = options.id ?? path.basename(path.resolve(into));
  checkId(id);
  if (options.decision !== undefined && options.denials !== undefined)
    throw new ServiceError('invalid_request', 'give --decision or --denials');
  const secret = newSecret(systemRandom);
  const { importFrom } = await import('../../policy/import/import.ts');
  const imported = await importFrom({
    place,
    id,
    opa: (await configuration()).opa,
    digest: createHash('sha256').update(secret).digest('hex'),
    decision: options.decision,
    denials: options.denials,
    verificationKey: verificationKey === undefined ? undefined : await keyIn(verificationKey),
    skipsVerification: options.skipVerification ?? false,
    isV0: options.v0 ?? false,
    without: options.without,
  });
  const { taken, refused, left, decision, isVerified, files } = imported;
  const isWhole = refused.length === 0;
  if (isWhole) await make(into, files);
  if (!json) tell(imported);
  // As it will be served, and then as its author tested it.
  const checked = isWhole ? await reportOf(into, {}, false) : undefined;
  const tested = checked?.ok ? await ran(into, { json, isOneOfMany: false }) : undefined;
  process.exitCode = tested ? tested.code : ExitCode.deny;
  if (json)
    return printJson({
      ok: process.exitCode === ExitCode.allow,
      taken,
      refused,
      left,
      ...(checked && { diagnostics: checked.diagnostics }),
      ...(isWhole && { id, folder: into, decision, verified: isVerified, client_id: 'api', secret }),
    });
  if (!checked)
    return print(`\nNothing was written: ${refused.length} to be mended, or left out with --without`);
  printFields([
    ['tenant', id],
    ['folder', into],
    ['decision', decision],
    ['signature', isVerified ? 'verified' : ''],
    ['caller', 'service:api'],
    ['secret', `${secret}   (give it to the caller; it is not kept)`],
  ]);
  showReport(checked);
  if (tested) show(into, tested, { json, isOneOfMany: false });
  print(`\nNext: mandate policy check ${into}, and say in ${into}/mandate/mapping.rego what callers send`);
}

function tell({ taken, refused, left }: Imported): void {
  for (const { file, as } of taken) print(`taken    ${file}${as === file ? '' : `  as ${as}`}`);
  for (const { file, why } of left) print(`left     ${shown(file)}  ${why}`);
  for (const { file, why } of refused) print(`refused  ${shown(file)}  ${why}`);
}

async function keyIn(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((cause: Error) => {
    throw new ServiceError('invalid_request', `--verification-key: ${cause.message}`, { cause });
  });
}
