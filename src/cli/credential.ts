import { createHash } from 'node:crypto';
import { Command } from 'commander';
import { systemRandom } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import { newSecret } from '../tenancy/registry/changes.ts';
import { newScrypt } from '../tenancy/registry/scrypt.ts';
import { globalsOf, printFields, printJson, warn } from './terminal/output.ts';

export function credentialCommands(): Command {
  return new Command('credential')
    .description('make caller credentials')
    .addCommand(hashCommand())
    .addCommand(
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

/** As long as anybody could remember, and none that a word list has first. */
const LEAST_CHARACTERS = 12;
const MOST_CHARACTERS = 1_024;

const hashCommand = (): Command =>
  new Command('hash')
    .description('read a secret that somebody chose from standard input, and print the line for tenant.yaml')
    .addHelpText(
      'after',
      '\nA secret of `mandate credential new` cannot be guessed, and is looked up faster.\n\nExample:\n  $ mandate credential hash < secret.txt\n',
    )
    .action(async (_options: unknown, command: Command) => {
      if (process.stdin.isTTY) warn('mandate: type the secret, then Enter and Ctrl-D');
      const secret = (await readInput()).replace(/\r?\n$/, '');
      if (secret.length < LEAST_CHARACTERS || secret.length > MOST_CHARACTERS || /[\r\n]/.test(secret))
        throw new ServiceError(
          'invalid_request',
          `a secret is one line of ${LEAST_CHARACTERS} to ${MOST_CHARACTERS} characters`,
        );
      const hash = await newScrypt(secret);
      if (globalsOf(command).json) printJson({ secret_scrypt: hash });
      else printFields([['tenant.yaml', `credentials: [{ secret_scrypt: '${hash}' }]`]]);
    });

async function readInput(): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > 4 * MOST_CHARACTERS + 2) break;
  }
  return Buffer.concat(chunks).toString('utf8');
}
