import { Command } from 'commander';
import { ServiceError } from '../errors.ts';
import { addressOf } from './address.ts';
import { explained, isErrorCode } from './terminal/explain.ts';
import { globalsOf, print, printJson } from './terminal/output.ts';
import { visible } from './terminal/visible.ts';

interface DevTokenOptions {
  tenant: string;
  user: string;
  client: string;
  acr?: string;
}

export const devTokenCommand = (): Command =>
  new Command('dev')
    .description("get a user's token from the stand-in identity provider of a server in --dev mode")
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .requiredOption('--user <id>', 'the user who signs in')
    .requiredOption('--client <id>', 'the agent the user signs in to')
    .option('--acr <value>', 'how the user signed in, just now: the claim acr')
    .addHelpText('after', '\nExample:\n  $ mandate token dev -t acme --user alice --client research-agent\n')
    .action(async (options: DevTokenOptions, command: Command) => {
      const globals = globalsOf(command);
      const address = addressOf('data', globals);
      const { user, client, acr } = options;
      const query = new URLSearchParams({ user, client, ...(acr === undefined ? {} : { acr }) });
      const url = new URL(`/t/${encodeURIComponent(options.tenant)}/dev/token?${query}`, address);
      const signal = AbortSignal.timeout(globals.timeout * 1_000);
      const response = await fetch(url, { method: 'POST', signal }).catch((error: unknown) => {
        throw explained(error, address);
      });
      const answer = await answerOf(response);
      if (!answer.access_token) throw refusalOf(answer, address);
      if (globals.json) printJson(answer);
      else print(answer.access_token);
    });

interface Answer {
  readonly access_token?: string;
  readonly error?: string;
  readonly error_description?: string;
}

/** What is no JSON is from no server of ours: the same as an answer without a token. */
const answerOf = (response: Response): Promise<Answer> =>
  response.json().then(
    (body) => body as Answer,
    () => ({}),
  );

/** The path is there in --dev mode alone, so a server without it knows nothing of it. */
function refusalOf({ error, error_description }: Answer, address: string): Error {
  if (isErrorCode(error) && error !== 'not_found')
    return new ServiceError(error, visible(error_description ?? ''));
  return new ServiceError(
    'unavailable',
    `the server at ${address} is not in --dev mode, so it has no identity provider of its own`,
  );
}
