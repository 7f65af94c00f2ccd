import { Command, InvalidArgumentError, Option } from 'commander';
import { describe, ServiceError } from '../errors.ts';
import { DecisionService } from '../gen/mandate/v1/decision_pb.ts';
import { Decision } from '../gen/mandate/v1/model_pb.ts';
import { clientOf } from './client.ts';
import { explanationJson, explanationOf, printExplanation } from './explaining/recorded.ts';
import { ExitCode, globalsOf, print, printFields, printJson, warn } from './terminal/output.ts';
import { jsonObject, keyed } from './terminal/values.ts';
import { visible } from './terminal/visible.ts';

interface CheckOptions {
  tenant: string;
  subject?: string;
  token?: string;
  action: string;
  resource: string;
  property?: Record<string, unknown>;
  context?: Record<string, unknown>;
  audience?: string;
  approval?: string;
  atLeast?: bigint;
  explain?: boolean;
}

const words: Readonly<Record<number, string>> = {
  [Decision.UNSPECIFIED]: 'deny',
  [Decision.ALLOW]: 'allow',
  [Decision.DENY]: 'deny',
  [Decision.CHALLENGE]: 'challenge',
};

export function checkCommand(): Command {
  return new Command('check')
    .description('ask for a decision; exits 0 for allow, 1 for deny or challenge, 2 for an error')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('-s, --subject <class:id>', 'who asks, for example user:alice')
    .addOption(
      new Option('--token <token>', 'a token the principal presented, instead of --subject').conflicts(
        'subject',
      ),
    )
    .requiredOption('-a, --action <name>', 'for example document.read')
    .requiredOption('-r, --resource <type:id>', 'for example document:roadmap')
    .option('-p, --property <json>', 'the properties of the resource', jsonObject)
    .option('-c, --context <json>', 'the context', jsonObject)
    .option('--audience <name>', 'with --token: the audience you serve')
    .option('--approval <id>', 'of this very question; it is used if the answer is allow')
    .option(
      '--at-least <version>',
      'wait for this version of the state, as the header mandate-state-version of a change says it',
      version,
    )
    .option('--explain', 'say why, rule by rule, and what it cost')
    .addHelpText(
      'after',
      `\nExample:\n  $ mandate check -t acme -s user:alice -a document.read -r document:roadmap -p '{"project":"apollo","sensitivity":"internal"}' --explain\n`,
    )
    .action(async (options: CheckOptions, command: Command) => {
      const globals = globalsOf(command);
      const resource = keyed(options.resource, '--resource', 'type:id');
      if (!options.subject && !options.token)
        throw new ServiceError('invalid_request', 'name --subject or --token');
      if (options.audience && !options.token)
        throw new ServiceError('invalid_request', '--audience is that of a --token');
      const subject = options.subject ? keyed(options.subject, '--subject', 'class:id') : undefined;
      const client = clientOf(DecisionService, 'data', globals);
      const answer = await client.check({
        tenant: options.tenant,
        principal: options.token
          ? { case: 'subjectToken', value: options.token }
          : { case: 'subject', value: { type: subject?.[0] ?? '', id: subject?.[1] ?? '' } },
        action: { name: options.action },
        resource: { type: resource[0], id: resource[1], properties: (options.property ?? {}) as never },
        context: (options.context ?? {}) as never,
        audience: options.audience ?? '',
        approval: options.approval ?? '',
        atLeast: options.atLeast ?? 0n,
      });
      const word = words[answer.decision] ?? 'deny';
      // Before anything is printed: the answer stands even where nobody reads it.
      process.exitCode = word === 'allow' ? ExitCode.allow : ExitCode.deny;
      const why = options.explain
        ? await explanationOf(globals, options.tenant, {
            case: 'decisionId',
            value: answer.decisionId,
          }).catch(unexplained(options.tenant, answer.recordIndex))
        : undefined;
      if (globals.json)
        printJson({
          decision: word,
          ...plain(answer),
          ...(why && { explanation: explanationJson(why) }),
        });
      else {
        print(word);
        for (const { code, message } of answer.reasons)
          print(`  ${visible(code)}${message ? `: ${visible(message)}` : ''}`);
        if (options.explain)
          printFields([
            ['decision', answer.decisionId],
            ['revision', answer.policyRevision],
            ['record', String(answer.recordIndex)],
            ['cost', `${answer.cost} fuel`],
            ['obligations', answer.obligations.map((each) => JSON.stringify(each)).join(' ')],
            ['challenge', answer.challenge ? JSON.stringify(answer.challenge) : ''],
          ]);
        if (why) printExplanation(why);
      }
    });
}

/** Throws for what is no number of a version. */
function version(text: string): bigint {
  if (/^\d{1,15}$/.test(text)) return BigInt(text);
  throw new InvalidArgumentError('a version is a number, such as 42');
}

/** The answer stands without it. */
const unexplained = (tenant: string, index: bigint) => (error: unknown) => {
  const why = error instanceof ServiceError ? `${error.code}: ${error.message}` : describe(error);
  warn(
    `mandate: no explanation here (${why}); on the admin plane, who has policy.read and audit.read gets it:`,
  );
  warn(`mandate:   mandate audit explain ${index} -t ${tenant}`);
  return undefined;
};

const plain = (answer: {
  reasons: { code: string; message: string; neededScopes: string[] }[];
  obligations: unknown[];
  challenge?: unknown;
  decisionId: string;
  policyRevision: string;
  recordIndex: bigint;
  cost: number;
}) => ({
  reasons: answer.reasons.map(({ code, message, neededScopes: scopes }) => ({
    code,
    message,
    ...(scopes.length > 0 ? { needed_scopes: scopes } : {}),
  })),
  obligations: answer.obligations,
  challenge: answer.challenge,
  decision_id: answer.decisionId,
  policy_revision: answer.policyRevision,
  record_index: answer.recordIndex,
  cost: answer.cost,
});
