import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Command, Option } from 'commander';
import { countings } from '../../audit/count.ts';
import { readRecord } from '../../audit/read.ts';
import { recordKinds } from '../../audit/record.ts';
import { partsOf, wholeInput } from '../../audit/whole.ts';
import { systemClock } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import { AuditService } from '../../gen/mandate/v1/audit_pb.ts';
import { clientOf } from '../client.ts';
import { globalsOf, printJsonText, printTable } from '../terminal/output.ts';
import { keyed, moment, wholeNumber } from '../terminal/values.ts';
import { count } from './count.ts';
import { clear, HEAD, type NodeRecord, nodeLine, row, STORED } from './lines.ts';

export const queryCommand = (): Command =>
  new Command('query')
    .description('find records, newest first, or count them')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('--since <time>', 'an RFC 3339 time, or an age such as 15m, 2h, 7d')
    .option('--until <time>', 'the same')
    .option(
      '--principal <class:id>',
      'as subject, any actor of the chain, or target; operator:<id> for what an operator did',
    )
    .option('--caller <class:id>', 'who asked')
    .option('--resource <type:id>', 'what it was about')
    .option('--action <name>', 'what was to be done')
    .option('--reason <code>', 'why not: the code of the first reason')
    .option('--grant <id>', 'under which grant')
    .option('--task <id>', 'in which task')
    .option('--revision <hash>', 'by which revision of the policy')
    .option(
      '--context <path=value...>',
      'a member of the context by its JSON Pointer, and what it is, such as /ticket=INC-7; all that are given',
    )
    .option('--outcome <outcome>', 'allow, deny, challenge, done or error')
    .option('--kind <kind>', `${recordKinds.join(', ')}; read is left out unless it is asked for`)
    .option('--node <name>', 'made by this server; left out: by any whose log is here')
    .option('--decision <id>', 'the one record of a decision')
    .option('--oldest-first', 'in the order of the log; of several by time')
    .addOption(new Option('--stored', STORED).conflicts(['count', 'countBy']))
    .addOption(new Option('--whole', WHOLE).conflicts(['count', 'countBy']))
    .addOption(new Option('--count', 'how many there are').conflicts('countBy'))
    .addOption(
      new Option(
        '--count-by <member>',
        'how many of each; principal is the current actor, or the subject',
      ).choices(countings),
    )
    .option('-n, --limit <count>', 'at most this many records, or groups', wholeNumber(1), 20)
    .addHelpText(
      'after',
      `
Examples:
  $ mandate audit query -t acme --principal agent:research-agent --since 1h
  $ mandate audit query -t acme --context /ticket=INC-7 --oldest-first
  $ mandate audit query -t acme --outcome deny --since 7d --count-by reason
`,
    )
    .action(async (options: QueryOptions, command: Command) => {
      const globals = globalsOf(command);
      const filter = filterOf(options);
      if (options.count && command.getOptionValueSource('limit') === 'cli')
        throw new ServiceError('invalid_request', '--limit is of records or groups, and --count has neither');
      if (options.count || options.countBy) return count(globals, filter, options.countBy, options.limit);
      const client = clientOf(AuditService, 'admin', globals);
      const found: NodeRecord[] = [];
      let pageToken = '';
      do {
        const pageSize = Math.min(options.limit - found.length, 1_000);
        const page = await client.query({ ...filter, pageSize, pageToken });
        for (const record of page.records)
          found.push({ ...clear(record, options.stored), node: record.node });
        pageToken = page.nextPageToken;
      } while (pageToken !== '' && found.length < options.limit);
      if (options.whole)
        await putParts(found, (sha256) => client.getPart({ tenant: options.tenant, sha256 }));
      if (globals.json) for (const record of found) printJsonText(nodeLine(record));
      else show(found);
    });

/** Who made each is told where there are several. */
function show(found: readonly NodeRecord[]): void {
  const rows = found.map((each) => row(readRecord(each)));
  if (new Set(found.map(({ node }) => node)).size <= 1) return printTable(HEAD, rows);
  printTable(
    ['NODE', ...HEAD],
    rows.map((cells, at) => [found[at]?.node ?? '', ...cells]),
  );
}

const WHOLE = 'with --json: put in what a record has in common with others of its batch';

interface QueryOptions {
  tenant: string;
  since?: string;
  until?: string;
  principal?: string;
  caller?: string;
  resource?: string;
  action?: string;
  reason?: string;
  grant?: string;
  task?: string;
  revision?: string;
  context?: string[];
  outcome?: string;
  kind?: string;
  decision?: string;
  node?: string;
  oldestFirst?: boolean;
  limit: number;
  whole?: boolean;
  stored?: boolean;
  count?: boolean;
  countBy?: string;
}

export type Filter = ReturnType<typeof filterOf>;

/** As `QueryRequest` has it. Throws `invalid_request`. */
function filterOf(options: QueryOptions) {
  const now = systemClock();
  const principal = options.principal ? keyed(options.principal, '--principal', 'class:id') : undefined;
  return {
    tenant: options.tenant,
    ...(options.since ? { since: timestampFromMs(moment(options.since, now)) } : {}),
    ...(options.until ? { until: timestampFromMs(moment(options.until, now)) } : {}),
    ...(principal ? { principal: { class: principal[0], id: principal[1] } } : {}),
    outcome: options.outcome ?? '',
    kind: options.kind ?? '',
    decisionId: options.decision ?? '',
    caller: options.caller ?? '',
    resource: options.resource ?? '',
    action: options.action ?? '',
    reason: options.reason ?? '',
    grantId: options.grant ?? '',
    taskId: options.task ?? '',
    revision: options.revision ?? '',
    context: (options.context ?? []).map(memberIn),
    oldestFirst: options.oldestFirst === true,
    node: options.node ?? '',
  };
}

/** Throws `invalid_request`. */
function memberIn(text: string): { path: string; value: string } {
  const end = text.indexOf('=');
  if (end < 0)
    throw new ServiceError('invalid_request', `--context is path=value, such as /ticket=INC-7, not ${text}`);
  return { path: text.slice(0, end), value: text.slice(end + 1) };
}

/** Puts the parts that stand beside the records into their inputs, each asked for once. */
async function putParts(
  records: NodeRecord[],
  getPart: (sha256: string) => Promise<{ body: Uint8Array }>,
): Promise<void> {
  const parts = new Map<string, string>();
  for (const [at, { index, node, body }] of records.entries()) {
    const digests = Object.values(partsOf(body));
    for (const digest of digests)
      if (!parts.has(digest)) parts.set(digest, utf8.decode((await getPart(digest)).body));
    const input = digests.length > 0 && wholeInput(body, (digest) => parts.get(digest));
    if (!input) continue;
    const { input_parts: _, ...rest } = JSON.parse(utf8.decode(body)) as Record<string, unknown>;
    records[at] = {
      index,
      node,
      body: Buffer.from(JSON.stringify({ ...rest, input: JSON.parse(input) as unknown })),
    };
  }
}

const utf8 = new TextDecoder();
