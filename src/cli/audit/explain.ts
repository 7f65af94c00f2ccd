import { Command } from 'commander';
import { ServiceError } from '../../errors.ts';
import {
  explanationJson,
  explanationOf,
  isSound,
  printExplanation,
  type RecordName,
} from '../explaining/recorded.ts';
import { ExitCode, globalsOf, print, printFields, printJson } from '../terminal/output.ts';

export const explainCommand = (): Command =>
  new Command('explain')
    .description(
      'say why a decision, an exchange or an approval was answered as it was, rule by rule; exits 1 if that is not what was recorded',
    )
    .argument('<record>', "a record's index, or the id of its decision")
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('--node <name>', 'in the log of this server; left out: of a decision in all that are here')
    .addHelpText('after', '\nExample:\n  $ mandate audit explain 7 -t acme\n')
    .action(async (record: string, options: { tenant: string; node?: string }, command: Command) => {
      const globals = globalsOf(command);
      const answer = await explanationOf(globals, options.tenant, named(record), options.node);
      process.exitCode = isSound(answer) ? ExitCode.allow : ExitCode.deny;
      if (globals.json) return printJson(explanationJson(answer));
      print(answer.recordedOutcome);
      printFields([
        ['record', String(answer.index)],
        ...(answer.node === '' ? [] : [['server', answer.node] as const]),
        ['decision', answer.decisionId],
        ['revision', answer.explanation?.revision ?? ''],
        ['rules', answer.recordedRules.join(' ')],
        ['reasons', answer.recordedReasons.join(' ')],
      ]);
      printExplanation(answer);
    });

function named(record: string): RecordName {
  if (/^\d{1,15}$/.test(record)) return { case: 'index', value: BigInt(record) };
  if (/^[0-9a-f-]{36}$/.test(record)) return { case: 'decisionId', value: record };
  throw new ServiceError('invalid_request', `${record} is neither an index nor the id of a decision`);
}
