import { createHash } from 'node:crypto';
import { Command } from 'commander';
import { systemRandom } from '../effects.ts';
import { newSecret } from '../tenancy/registry/changes.ts';
import { globalsOf, printFields, printJson } from './terminal/output.ts';

export function credentialCommands(): Command {
  return new Command('credential').description('make caller credentials').addCommand(
    new Command('new')
      .description('make a secret for a caller, and the line that goes into its entry in tenant.yaml')
      .addHelpText('after', '\nExample:\n  $ mandate credential new\n')
      .action((_options: unknown, command: Command) => {
        const secret = newSecret(systemRandom);
        const digest = createHash('sha256').update(secret).digest('hex');
        if (globalsOf(command).json) printJson({ secret, secret_sha256: digest });
        else
          printFields([
            ['secret', `${secret}   (give it to the caller; it is not kept)`],
            ['tenant.yaml', `credentials: [{ secret_sha256: ${digest} }]`],
          ]);
      }),
  );
}
