import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { Command } from 'commander';
import { describe, ServiceError } from '../../errors.ts';
import { isKeyName, vkeyOf } from '../../merkle/keys.ts';
import { Witness, type WitnessAnswer } from '../../merkle/witness.ts';
import { print, warn } from '../terminal/output.ts';
import { policyIn } from './trust.ts';

interface WitnessOptions {
  readonly name: string;
  readonly state: string;
  readonly listen: string;
  readonly key?: string[];
  readonly policy?: string;
}

export const witnessCommand = (): Command =>
  new Command('witness')
    .description(
      'sign the checkpoints of logs that others keep, if they were only appended to (c2sp.org/tlog-witness)',
    )
    .requiredOption('--name <name>', 'what the witness is called, such as witness.example/w1')
    .option('--key <vkey...>', 'the verifier keys of the logs, or files with them')
    .option('--policy <file>', 'a policy (c2sp.org/tlog-policy) that names the logs')
    .option(
      '--state <folder>',
      'its key, and what it signed last of each log; never put an older copy back',
      'witness',
    )
    .option('--listen <address>', 'where it serves POST /add-checkpoint, in cleartext', '127.0.0.1:7410')
    .addHelpText(
      'after',
      `
It runs where the operator of the logs has no access. What it prints first is its verifier key, for \`witnesses\` in
the configuration of the log and for the policy of who verifies.

Example:
  $ mandate audit witness --name witness.example/w1 --key acme.vkey
`,
    )
    .action(async (options: WitnessOptions) => {
      const { host, port } = addressIn(options.listen);
      if (!isKeyName(options.name))
        throw new ServiceError('invalid_request', 'the name of a witness has no spaces and no +');
      const { logs } = policyIn(options);
      // The store's library is loaded here alone.
      const { openWitness } = await import('../../audit/witness/state.ts');
      const { witnessServer } = await import('../../audit/witness/server.ts');
      using store = openWitness(options.state, options.name);
      const server = witnessServer(new Witness(store.key, logs, store.state), tell, (error) =>
        warn(`mandate: not signed: ${describe(error)}`),
      );
      server.listen({ host, port });
      await once(server, 'listening').catch((cause: NodeJS.ErrnoException) => {
        throw new ServiceError('config_invalid', `cannot listen on ${options.listen}: ${cause.message}`, {
          cause,
        });
      });
      print(`mandate: witness ${vkeyOf(store.key)}`);
      print(`mandate: serves  http://${host}:${(server.address() as AddressInfo).port}`);
      for (const { name } of logs) print(`mandate: knows   ${name}`);
      await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')]);
      server.close();
      server.closeAllConnections();
    });

/** What it did not sign is for its operator to look at: two histories of one log are proof against whoever keeps it. */
function tell({ status, body }: WitnessAnswer): void {
  if (status === 403 || status === 422) warn(`mandate: not signed: ${body.trim()}`);
}

/** Throws `invalid_request`. */
function addressIn(text: string): { host: string; port: number } {
  const [, host = '', port = ''] = /^(\[[0-9a-fA-F:]+\]|[^:]+):(\d{1,5})$/.exec(text) ?? [];
  if (host === '' || Number(port) > 65_535)
    throw new ServiceError('invalid_request', '--listen is an address such as 127.0.0.1:7410');
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
}
