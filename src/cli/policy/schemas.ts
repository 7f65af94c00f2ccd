import { lstat, mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Command } from 'commander';
import { ServiceError } from '../../errors.ts';
import { globalsOf, print, printJson } from '../terminal/output.ts';
import { configuration, placeIn } from './folder.ts';

export const schemasCommand = (): Command =>
  new Command('schemas')
    .description(
      'write JSON Schemas of tenant.yaml, of tables of tests and of the policy input into .vscode/ of a tenant folder, and settings by which the editor uses them',
    )
    .argument('<folder>', 'a folder with a tenant.yaml')
    .addHelpText('after', '\nExample:\n  $ mandate policy schemas tenants/initech\n')
    .action(async (folder: string, _options: unknown, command: Command) => {
      placeIn(folder);
      const written = await write(folder, await schemas());
      if (globalsOf(command).json) return printJson(written);
      for (const file of written.files) print(file);
      if (written.settings) print(`\n${SETTINGS} is there already; add to it:\n${settings}`);
    });

const FOLDER = '.vscode/mandate';
const SETTINGS = '.vscode/settings.json';

/** Of the extensions redhat.vscode-yaml and tsandall.opa. */
const settings = JSON.stringify(
  {
    'yaml.schemas': {
      [`./${FOLDER}/tenant.schema.json`]: ['tenant.yaml'],
      [`./${FOLDER}/tests.schema.json`]: ['*_test.yaml', '*_test.yml'],
    },
    'opa.schema': `./${FOLDER}/input.schema.json`,
  },
  undefined,
  2,
);

async function schemas(): Promise<ReadonlyMap<string, string>> {
  const { manifestSchema } = await import('../../tenancy/manifest.ts');
  const { tableSchema } = await import('../../tenancy/folder/table.ts');
  const { home } = await configuration();
  const input = await readFile(path.join(home, 'policies', 'schemas', 'input.json'), 'utf8');
  const text = (schema: object): string => `${JSON.stringify(schema, undefined, 2)}\n`;
  return new Map([
    ['tenant.schema.json', text(manifestSchema())],
    ['tests.schema.json', text(tableSchema())],
    ['input.schema.json', input],
  ]);
}

/** Schemas are made anew each time; settings that are there are somebody's own. Follows no link out of the folder. */
async function write(
  folder: string,
  files: ReadonlyMap<string, string>,
): Promise<{ readonly files: readonly string[]; readonly settings: boolean }> {
  for (const part of ['.vscode', FOLDER]) {
    const status = await lstat(path.join(folder, part)).catch(() => undefined);
    if (status && !status.isDirectory())
      throw new ServiceError('invalid_request', `${path.join(folder, part)} is not a folder`);
  }
  await mkdir(path.join(folder, FOLDER), { recursive: true });
  const written: string[] = [];
  for (const [name, text] of files) {
    const file = path.join(folder, FOLDER, name);
    const status = await lstat(file).catch(() => undefined);
    if (status && !status.isFile()) throw new ServiceError('invalid_request', `${file} is not a file`);
    await writeFile(file, text);
    written.push(file);
  }
  const place = path.join(folder, SETTINGS);
  const isThere = (await lstat(place).catch(() => undefined)) !== undefined;
  if (!isThere) {
    await writeFile(place, `${settings}\n`, { flag: 'wx' });
    written.push(place);
  }
  return { files: written, settings: isThere };
}
