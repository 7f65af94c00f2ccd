import { Command } from 'commander';
import { globalsOf, print, printJson } from './terminal/output.ts';
import { Progress } from './terminal/progress.ts';

export function storeCommands(): Command {
  return new Command('store').description('look after the files of a server').addCommand(
    new Command('backup')
      .description('copy a store, while it serves, into a folder that a server can be started on')
      .argument('<folder>', 'where to; it holds no store yet')
      .option('--data-dir <folder>', 'the store', 'data')
      .addHelpText(
        'after',
        `
The keys in it are sealed: without the master key (master.key in the data_dir, or master_key_file) it can be read and
verified, and no server starts on it. Keep that apart.

Example:
  $ mandate store backup /backups/2026-11-25
`,
      )
      .action(async (folder: string, options: { dataDir: string }, command: Command) => {
        const { backUp } = await import('../storage/backup.ts');
        using progress = new Progress('pages');
        const done = await backUp(options.dataDir, folder, progress.tell);
        progress[Symbol.dispose]();
        if (globalsOf(command).json) return printJson(done);
        print(`${done.file}: ${done.records} records of ${done.logs} logs, ${done.bytes} bytes`);
        print('its master key is not in it; `mandate audit verify` proves what is');
      }),
  );
}
