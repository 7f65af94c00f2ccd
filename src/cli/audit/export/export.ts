import { Command, Option } from 'commander';
import { parseCheckpoint } from '../../../merkle/checkpoint.ts';
import { addressOf } from '../../address.ts';
import { globalsOf, print, printJson } from '../../terminal/output.ts';
import { Progress } from '../../terminal/progress.ts';
import { filesAt } from '../files.ts';
import { manifestOf } from './manifest.ts';
import { type TableFormat, tableFormats, tableInto } from './table.ts';
import { refuseOther, tilesInto } from './tiles.ts';

interface ExportOptions {
  readonly tenant: string;
  readonly node: string;
  readonly format: 'tiles' | TableFormat;
}

export const exportCommand = (): Command =>
  new Command('export')
    .description("copy a tenant's log, up to its newest checkpoint")
    .argument('<to>', 'a folder for tiles, else a file')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .addOption(
      new Option(
        '--format <format>',
        'tiles can be verified, and are gone on with where they are there already; the others are one file, and its manifest',
      )
        .choices(['tiles', ...tableFormats])
        .default('tiles'),
    )
    .option('--node <name>', "the server's name in the log", 'main')
    .addHelpText(
      'after',
      `
Examples:
  $ mandate audit export acme.log -t acme
  $ mandate audit verify acme.log --key acme.vkey
  $ mandate audit export acme.parquet -t acme --format parquet
`,
    )
    .action(async (to: string, options: ExportOptions, command: Command) => {
      const globals = globalsOf(command);
      const address = `${addressOf('admin', globals)}/t/${options.tenant}/log/${options.node}`;
      const read = filesAt(address, globals);
      const source = Buffer.from((await read('checkpoint')) ?? []).toString('utf8');
      const checkpoint = parseCheckpoint(source);
      const { origin, size } = checkpoint;
      if (options.format === 'tiles') refuseOther(to, origin, size);
      using progress = new Progress('entries');
      if (options.format === 'tiles') await tilesInto(to, read, source, size, progress.tell);
      else await tableInto(to, options.format, read, checkpoint, progress.tell);
      progress[Symbol.dispose]();
      const manifest = options.format === 'tiles' ? undefined : manifestOf(to);
      if (globals.json) printJson({ origin, size, to, manifest });
      else print(`${to}: ${size} entries of ${origin}`);
    });
