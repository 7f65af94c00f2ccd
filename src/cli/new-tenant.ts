import { createHash, randomBytes } from 'node:crypto';
import { lstat, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Command } from 'commander';
import { systemRandom } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import { tenantId } from '../ids.ts';
import { newSecret } from '../tenancy/registry/changes.ts';
import { starterFiles } from './policy/starter.ts';
import { globalsOf, print, printFields, printJson } from './terminal/output.ts';

const DESCRIPTION = 'make a folder for a tenant: its tenant.yaml, a policy that denies, and tests of it';
const SERVED = '\nA server whose folder of tenants it is in serves it at once.\n\nExample:\n';

export const newTenant = (): Command =>
  new Command('new')
    .description(DESCRIPTION)
    .argument('<id>', '1 to 63 of a-z, 0-9 and -')
    .argument('[folder]', 'where to make it (default: a folder of that name, here)')
    .addHelpText('after', `${SERVED}  $ mandate tenant new initech tenants/initech\n`)
    .action((id: string, folder: string | undefined, _options: unknown, command: Command) =>
      begin(id, folder ?? id, command),
    );

/** The same for whoever thinks of the folder first. */
export const newPolicy = (): Command =>
  new Command('new')
    .description(DESCRIPTION)
    .argument('<folder>', 'where to make it')
    .option('--id <id>', "the tenant's id: 1 to 63 of a-z, 0-9 and - (default: the folder's name)")
    .addHelpText('after', `${SERVED}  $ mandate policy new tenants/initech\n`)
    .action((folder: string, { id }: { id?: string }, command: Command) =>
      begin(id ?? path.basename(path.resolve(folder)), folder, command),
    );

async function begin(id: string, folder: string, command: Command): Promise<void> {
  checkId(id);
  const secret = newSecret(systemRandom);
  await make(folder, Object.entries(starterFiles(id, createHash('sha256').update(secret).digest('hex'))));
  if (globalsOf(command).json) return printJson({ id, folder, client_id: 'api', secret });
  printFields([
    ['tenant', id],
    ['folder', folder],
    ['caller', 'service:api'],
    ['secret', `${secret}   (give it to the caller; it is not kept)`],
  ]);
  print(`\nNext: mandate policy test ${folder}`);
}

export function checkId(id: string): void {
  try {
    tenantId(id);
  } catch (cause) {
    throw new ServiceError('invalid_request', 'a tenant is called by 1 to 63 of a-z, 0-9 and -', { cause });
  }
}

/** All of it or nothing: a server that looks into the folder beside it never sees one that is half made. */
export async function make(
  folder: string,
  files: Iterable<readonly [string, string | Buffer]>,
): Promise<void> {
  if (await lstat(folder).catch(() => undefined))
    throw new ServiceError('invalid_request', `${folder} is there already`);
  // A name that servers leave alone.
  const made = path.join(path.dirname(folder), `..new-${randomBytes(6).toString('hex')}`);
  try {
    for (const [name, text] of files) {
      await mkdir(path.dirname(path.join(made, name)), { recursive: true });
      await writeFile(path.join(made, name), text);
    }
    await rename(made, folder);
  } catch (error) {
    await rm(made, { recursive: true, force: true });
    throw error;
  }
}
