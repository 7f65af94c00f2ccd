import { toJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { Command, InvalidArgumentError, Option } from 'commander';
import { ServiceError } from '../errors.ts';
import { DecisionService, type Condition as Message, PlanOutcome } from '../gen/mandate/v1/decision_pb.ts';
import { ALWAYS, type Condition, NEVER, type Value } from '../policy/plan/condition.ts';
import { renderElasticsearch } from '../policy/plan/render/elasticsearch.ts';
import {
  type Field,
  type FieldType,
  fieldTypes,
  type NullMeaning,
  nullMeanings,
} from '../policy/plan/render/fields.ts';
import { renderMongodb } from '../policy/plan/render/mongodb.ts';
import { renderPostgres } from '../policy/plan/render/postgres.ts';
import { renderPrisma } from '../policy/plan/render/prisma.ts';
import type { Sql } from '../policy/plan/render/sql.ts';
import { renderSqlite } from '../policy/plan/render/sqlite.ts';
import { operators } from '../server/connect/plan.ts';
import { clientOf } from './client.ts';
import { ExitCode, globalsOf, print, printJson } from './terminal/output.ts';
import { jsonObject, keyed } from './terminal/values.ts';
import { visible } from './terminal/visible.ts';

interface PlanOptions {
  tenant: string;
  subject?: string;
  token?: string;
  action: string;
  resourceType: string;
  property?: Record<string, unknown>;
  context?: Record<string, unknown>;
  audience?: string;
  as: 'json' | keyof typeof renderers;
  column: Map<string, Field>;
}

const renderers = {
  sqlite: renderSqlite,
  postgres: renderPostgres,
  mongodb: renderMongodb,
  elasticsearch: renderElasticsearch,
  prisma: renderPrisma,
} as const satisfies Record<string, (condition: Condition, fields: Map<string, Field>) => object>;

const words: Readonly<Record<number, string>> = {
  [PlanOutcome.ALWAYS_ALLOWED]: 'always allowed',
  [PlanOutcome.ALWAYS_DENIED]: 'always denied',
  [PlanOutcome.CONDITIONAL]: 'conditional',
};

export function planCommand(): Command {
  return new Command('plan')
    .description(
      'ask for which resources somebody may act, as a filter; exits 0, 1 where for none, 2 for an error',
    )
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('-s, --subject <class:id>', 'who asks, for example user:alice')
    .addOption(
      new Option('--token <token>', 'a token the principal presented, instead of --subject').conflicts(
        'subject',
      ),
    )
    .requiredOption('-a, --action <name>', 'for example document.read')
    .requiredOption('--resource-type <type>', 'for example document')
    .option('-p, --property <json>', 'what is known of all the resources', jsonObject)
    .option('-c, --context <json>', 'the context', jsonObject)
    .option('--audience <name>', 'with --token: the audience you serve')
    .addOption(
      new Option('--as <form>', 'the form of the filter')
        .choices(['json', ...Object.keys(renderers)])
        .default('json'),
    )
    .option(
      '--column <attribute=name:type>',
      `where an attribute is kept, such as owner=owner_id:text; of ${fieldTypes.join(', ')}, and with :${nullMeanings.join(', :')} what none there stands for (either)`,
      column,
      new Map<string, Field>(),
    )
    .addHelpText(
      'after',
      '\nExample:\n  $ mandate plan -t acme -s user:alice -a document.read --resource-type document --as sqlite --column owner=owner:text --column project=project:text --column sensitivity=sensitivity:text\n',
    )
    .action(async (options: PlanOptions, command: Command) => {
      const globals = globalsOf(command);
      if (!options.subject && !options.token)
        throw new ServiceError('invalid_request', 'name --subject or --token');
      const subject = options.subject ? keyed(options.subject, '--subject', 'class:id') : undefined;
      const answer = await clientOf(DecisionService, 'data', globals).plan({
        tenant: options.tenant,
        principal: options.token
          ? { case: 'subjectToken', value: options.token }
          : { case: 'subject', value: { type: subject?.[0] ?? '', id: subject?.[1] ?? '' } },
        action: { name: options.action },
        resourceType: options.resourceType,
        properties: (options.property ?? {}) as never,
        context: (options.context ?? {}) as never,
        audience: options.audience ?? '',
      });
      const { outcome } = answer;
      process.exitCode = outcome === PlanOutcome.ALWAYS_DENIED ? ExitCode.deny : ExitCode.allow;
      // What is not known to be allowed is not.
      const otherwise = outcome === PlanOutcome.ALWAYS_ALLOWED ? ALWAYS : NEVER;
      const condition = answer.condition ? conditionOf(answer.condition) : otherwise;
      const filter = options.as === 'json' ? condition : renderers[options.as](condition, options.column);
      const obligations = answer.obligations.map(({ obligation, when }) => ({
        obligation,
        ...(when ? { when: conditionOf(when) } : {}),
      }));
      const word = words[outcome] ?? 'always denied';
      if (globals.json) {
        printJson({
          outcome: word,
          filter,
          obligations,
          reasons: answer.reasons.map(({ code, message }) => ({ code, message })),
          decision_id: answer.decisionId,
          policy_revision: answer.policyRevision,
          record_index: answer.recordIndex,
        });
        return;
      }
      print(word);
      for (const { code, message } of answer.reasons)
        print(`  ${visible(code)}${message ? `: ${visible(message)}` : ''}`);
      if (options.as === 'sqlite' || options.as === 'postgres') {
        const { text, parameters } = filter as Sql;
        print(visible(text));
        print(visible(JSON.stringify(parameters)));
      } else print(visible(JSON.stringify(filter)));
      for (const each of obligations) print(`owes ${visible(JSON.stringify(each))}`);
    });
}

/** `owner=owner_id:text:absent`; the attribute is a property, or `resource.id`. */
function column(text: string, before: Map<string, Field>): Map<string, Field> {
  const [, attribute = '', name = '', type = '', meaning] =
    /^([^=]+)=(.+):([a-z]+):(absent|null|either|never)$/.exec(withMeaning(text)) ?? [];
  if (name === '' || !(fieldTypes as readonly string[]).includes(type))
    throw new InvalidArgumentError(`It is attribute=name:type, of ${fieldTypes.join(', ')}.`);
  const path = attribute === 'resource.id' ? attribute : `resource.properties.${attribute}`;
  return new Map([
    ...before,
    [path, { name, type: type as FieldType, null: meaning as NullMeaning | undefined }],
  ]);
}

/** The name may hold colons, so what comes last is always said. */
const withMeaning = (text: string): string =>
  nullMeanings.some((each) => text.endsWith(`:${each}`)) ? text : `${text}:either`;

const names = new Map<number, Condition['op']>(
  Object.entries(operators).map(([name, number]) => [number, name as Condition['op']]),
);

/** Throws `unavailable` for what a newer server says: a filter without it might be wider. */
function conditionOf(message: Message): Condition {
  const op = names.get(message.op);
  const { attribute, element, conditions } = message;
  const of = conditions.map(conditionOf);
  const [first = NEVER] = of;
  switch (op) {
    case undefined:
      throw new ServiceError(
        'unavailable',
        'the server answers with a condition that this command does not know',
      );
    case 'and':
    case 'or':
      return { op, of };
    case 'not':
      return { op, of: first };
    case 'any':
      return { op, attribute, element, of: first };
    case 'constant':
      return { op, value: valueOf(message.value) === true };
    case 'exists':
      return { op, attribute };
    case 'in':
      return { op, attribute, values: message.values.map(valueOf) };
    case 'starts_with':
    case 'ends_with':
    case 'contains_text':
      return { op, attribute, value: String(valueOf(message.value)) };
    default:
      return { op, attribute, value: valueOf(message.value) } as Condition;
  }
}

const valueOf = (value: Message['value']): Value => (value ? (toJson(ValueSchema, value) as Value) : null);
