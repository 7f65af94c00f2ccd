import { Command } from 'commander';

/**
 * Gives every command what the program says of help and errors, the options of the program in its help, and each
 * group a `help` command.
 */
export function explainEverywhere(program: Command): void {
  program
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError('(add --help for more)')
    .exitOverride();
  settle(program);
}

function settle(command: Command): void {
  for (const each of command.commands) {
    // A command that was made apart from its parent takes nothing over from it by itself.
    each.copyInheritedSettings(command);
    settle(each);
  }
  if (command.commands.length > 0) command.addCommand(helpCommand().copyInheritedSettings(command));
}

/** Commander's own shows all the help there is for a name it does not know, and not a word about the name. */
const helpCommand = (): Command =>
  new Command('help')
    .description('show the help of a command')
    .argument('[command...]')
    .action((names: readonly string[], _options: unknown, help: Command) => {
      let shown = help.parent ?? help;
      for (const name of names) {
        const next = shown.commands.find((each) => each.name() === name);
        if (!next) return shown.error(`error: unknown command '${name}'`);
        shown = next;
      }
      shown.help();
    });
