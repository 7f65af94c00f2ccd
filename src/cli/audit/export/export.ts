import { Command, Option } from 'commander';
import { ServiceError } from '../../../errors.ts';
import { AuditService } from '../../../gen/mandate/v1/audit_pb.ts';
import { parseCheckpoint } from '../../../merkle/checkpoint.ts';
import { addressOf } from '../../address.ts';
import { clientOf } from '../../client.ts';
import { type GlobalOptions, globalsOf, print, printJson } from '../../terminal/output.ts';
import { Progress } from '../../terminal/progress.ts';
import { filesAt, needed } from '../files.ts';
import { NODE } from '../lines.ts';
import { manifestOf } from './manifest.ts';
import { opening } from './opening.ts';
import { type TableFormat, tableFormats, tableInto } from './table.ts';
import { refuseOther, tilesInto } from './tiles.ts';

interface ExportOptions {
  readonly tenant: string;
  readonly node?: string;
  readonly format: 'tiles' | TableFormat;
  readonly open?: boolean;
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
    .option('--node <name>', NODE)
    .option(
      '--open',
      'with --format jsonl: what is sealed in the clear, where it may be had; no erasure reaches that file, and it has no manifest',
    )
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
      if (options.open && options.format !== 'jsonl')
        throw new ServiceError('invalid_request', '--open is for --format jsonl, the others are as stored');
      const shown = options.open ? opening(globals, options.tenant) : undefined;
      const node = options.node ?? (await ownNode(globals, options.tenant));
      const address = `${addressOf('admin', globals)}/t/${options.tenant}/log/${node}`;
      const read = filesAt(address, globals);
      const source = Buffer.from(await needed(read, 'checkpoint')).toString('utf8');
      const checkpoint = parseCheckpoint(source);
      const { origin, size } = checkpoint;
      if (options.format === 'tiles') refuseOther(to, origin, size);
      using progress = new Progress('entries');
      const gone = await (options.format === 'tiles'
        ? tilesInto(to, read, source, size, progress.tell)
        : tableInto(to, options.format, read, checkpoint, shown, progress.tell));
      progress[Symbol.dispose]();
      const manifest = options.format === 'tiles' || shown ? undefined : manifestOf(to);
      if (globals.json) return printJson({ origin, size, gone, to, manifest });
      print(`${to}: ${size - gone} entries of ${origin}`);
      if (gone > 0)
        print(
          `${gone} more are of tiles that were archived or removed: \`mandate audit volumes\` says which`,
        );
    });

/** What the server that is asked is called. */
const ownNode = async (globals: GlobalOptions, tenant: string): Promise<string> =>
  (await clientOf(AuditService, 'admin', globals).describeLog({ tenant })).node;
