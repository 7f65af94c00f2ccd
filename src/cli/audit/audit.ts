import { setTimeout as delay } from 'node:timers/promises';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { Command } from 'commander';
import { type AuditRecord, readRecord } from '../../audit/read.ts';
import { partsOf, wholeInput } from '../../audit/whole.ts';
import { systemClock } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import { AuditService } from '../../gen/mandate/v1/audit_pb.ts';
import type { StoredRecord } from '../../storage/log/records.ts';
import { clientOf } from '../client.ts';
import { type GlobalOptions, globalsOf, printJsonText, printTable, warn } from '../terminal/output.ts';
import { keyed, moment, wholeNumber } from '../terminal/values.ts';
import { visible, visibleJson } from '../terminal/visible.ts';
import { eraseCommand } from './erase.ts';
import { exportCommand } from './export.ts';
import { checkpointCommand, keyCommand, receiptCommand } from './proof.ts';
import { reportCommand } from './report.ts';
import { verifyCommand } from './verify.ts';
import { archiveCommand, holdCommand, releaseCommand, volumesCommand } from './volumes.ts';
import { witnessCommand } from './witness.ts';

export function auditCommands(): Command {
  return new Command('audit')
    .description("read a tenant's log, and prove what stands in it")
    .addCommand(query())
    .addCommand(tail())
    .addCommand(keyCommand())
    .addCommand(checkpointCommand())
    .addCommand(receiptCommand())
    .addCommand(verifyCommand())
    .addCommand(exportCommand())
    .addCommand(reportCommand())
    .addCommand(eraseCommand())
    .addCommand(witnessCommand())
    .addCommand(volumesCommand())
    .addCommand(archiveCommand())
    .addCommand(holdCommand())
    .addCommand(releaseCommand());
}

const query = (): Command =>
  new Command('query')
    .description('find records, newest first')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('--since <time>', 'an RFC 3339 time, or an age such as 15m, 2h, 7d')
    .option('--until <time>', 'the same')
    .option(
      '--principal <class:id>',
      'as subject, current actor or target; operator:<id> for what an operator did',
    )
    .option('--caller <class:id>', 'who asked')
    .option('--resource <type:id>', 'what it was about')
    .option('--action <name>', 'what was to be done')
    .option('--reason <code>', 'why not: the code of the first reason')
    .option('--grant <id>', 'under which grant')
    .option('--outcome <outcome>', 'allow, deny, challenge, done or error')
    .option('--kind <kind>', 'decision, exchange, introspection, revocation, administration or access')
    .option('--decision <id>', 'the one record of a decision')
    .option('--whole', 'with --json: put in what a record has in common with others of its batch')
    .option('--stored', 'with --json: as the log has it, with what is sealed as it is')
    .option('-n, --limit <count>', 'at most this many', wholeNumber(1), 20)
    .addHelpText(
      'after',
      '\nExample:\n  $ mandate audit query -t acme --principal agent:research-agent --since 1h\n',
    )
    .action(async (options: QueryOptions, command: Command) => {
      const globals = globalsOf(command);
      const client = clientOf(AuditService, 'admin', globals);
      const now = systemClock();
      const principal = options.principal ? keyed(options.principal, '--principal', 'class:id') : undefined;
      const found: StoredRecord[] = [];
      let pageToken = '';
      do {
        const page = await client.query({
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
          pageSize: Math.min(options.limit - found.length, 1_000),
          pageToken,
        });
        found.push(...page.records.map((record) => clear(record, options.stored)));
        pageToken = page.nextPageToken;
      } while (pageToken !== '' && found.length < options.limit);
      if (options.whole)
        await putParts(found, (sha256) => client.getPart({ tenant: options.tenant, sha256 }));
      if (globals.json) for (const record of found) printJsonText(line(record));
      else
        printTable(
          HEAD,
          found.map((each) => row(readRecord(each))),
        );
    });

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
  outcome?: string;
  kind?: string;
  decision?: string;
  limit: number;
  whole?: boolean;
  stored?: boolean;
}

/** Puts the parts that stand beside the records into their inputs, each asked for once. */
async function putParts(
  records: StoredRecord[],
  getPart: (sha256: string) => Promise<{ body: Uint8Array }>,
): Promise<void> {
  const parts = new Map<string, string>();
  for (const [at, { index, body }] of records.entries()) {
    const digests = Object.values(partsOf(body));
    for (const digest of digests)
      if (!parts.has(digest)) parts.set(digest, utf8.decode((await getPart(digest)).body));
    const input = digests.length > 0 && wholeInput(body, (digest) => parts.get(digest));
    if (!input) continue;
    const { input_parts: _, ...rest } = JSON.parse(utf8.decode(body)) as Record<string, unknown>;
    records[at] = {
      index,
      body: Buffer.from(JSON.stringify({ ...rest, input: JSON.parse(input) as unknown })),
    };
  }
}

interface TailOptions {
  readonly tenant: string;
  readonly from?: number;
  readonly follow?: boolean;
  readonly stored?: boolean;
}

/** How long it waits before it connects again: twice as long each time, while nothing answers. */
const FIRST_WAIT_MS = 250;
const MOST_WAIT_MS = 10_000;

/** Faults of the moment. Whoever is refused, or asks for what there is not, is told so. */
const passing: ReadonlySet<string> = new Set(['unavailable', 'deadline_exceeded', 'resource_exhausted']);

const tail = (): Command =>
  new Command('tail')
    .description('print records as they are committed, until you stop it')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .option('--from <index>', 'begin with this record instead of the next one', wholeNumber(0))
    .option(
      '--follow',
      'connect again where the connection or the server ends, and go on with the next record',
    )
    .option('--stored', 'with --json: as the log has it, with what is sealed as it is')
    .addHelpText('after', '\nExample:\n  $ mandate audit tail -t acme --from 0 --follow\n')
    .action(async ({ tenant, from, follow, stored }: TailOptions, command: Command) => {
      const globals = globalsOf(command);
      let next = from;
      let waitMs = FIRST_WAIT_MS;
      for (;;)
        try {
          // Where the log ends now is asked for: a connection that breaks before the first record would leave a gap.
          next ??= follow ? await endOf(globals, tenant) : undefined;
          for await (const page of tailed(globals, tenant, next, stored)) {
            const lines: string[] = [];
            for (const record of page) {
              if (next !== undefined && record.index > next) warn(leftOut(next, record.index));
              next = record.index + 1;
              lines.push(shown(record, globals.json === true));
            }
            waitMs = FIRST_WAIT_MS;
            // A write a line would be most of the work.
            process.stdout.write(lines.join(''));
          }
          // The log has no end, so it was the server that did.
          throw new ServiceError(
            'unavailable',
            `the server at ${globals.admin} stopped; there may be more records`,
          );
        } catch (error) {
          if (!follow || !(error instanceof ServiceError) || !passing.has(error.code)) throw error;
          warn(`mandate: ${error.message}; connecting again`);
          await delay(waitMs);
          waitMs = Math.min(MOST_WAIT_MS, waitMs * 2);
        }
    });

/** The index of the next record of the log. */
async function endOf(globals: GlobalOptions, tenant: string): Promise<number> {
  const { records } = await clientOf(AuditService, 'admin', globals).query({ tenant, pageSize: 1 });
  return records[0] ? Number(records[0].index) + 1 : 0;
}

async function* tailed(
  globals: GlobalOptions,
  tenant: string,
  from: number | undefined,
  isStored: boolean | undefined,
): AsyncGenerator<StoredRecord[]> {
  // Compressing them takes longer than all the rest.
  const client = clientOf(AuditService, 'admin', globals, { acceptCompression: [] });
  const pages = client.tail({
    tenant,
    stored: true,
    ...(from === undefined ? {} : { fromIndex: BigInt(from) }),
  });
  for await (const { stored } of pages) yield stored.map((record) => clear(record, isStored));
}

/** What is shown of a record: what is sealed in the clear, where it may be had. */
const clear = (
  { index, body, opened }: { index: bigint; body: Uint8Array; opened: Uint8Array },
  isStored = false,
): StoredRecord => ({ index: Number(index), body: isStored || opened.length === 0 ? body : opened });

/** A line, with its end. */
function shown(record: StoredRecord, isJson: boolean): string {
  if (isJson) return `${visibleJson(line(record))}\n`;
  return `${row(readRecord(record)).map(visible).join('  ')}\n`;
}

const leftOut = (from: number, end: number): string =>
  `mandate: ${end - from === 1 ? `record ${from} is` : `records ${from} to ${end - 1} are`} not there: archived or removed (\`mandate audit volumes\` says which), or damaged`;

const HEAD = ['INDEX', 'TIME', 'KIND', 'OUTCOME', 'WHO', 'ACTION', 'RESOURCE', 'WHY'];

function row(record: AuditRecord): string[] {
  return [
    String(record.index),
    new Date(record.time).toISOString(),
    record.kind,
    record.outcome,
    who(record),
    record.action || '-',
    what(record),
    [...new Set([...record.reasons.map((reason) => reason.code), ...record.rules])].join(' '),
  ];
}

/** Kinds of which the principals are those of the grant or token that is acted on; the one who acts is the caller. */
const DONE_TO: ReadonlySet<string> = new Set(['revocation', 'introspection']);

/** Of a refused exchange only the actor is known; of what nobody was named in, only the caller. */
const who = (record: AuditRecord): string =>
  DONE_TO.has(record.kind) ? record.caller : named(record) || record.caller;

function what({ target, ...record }: AuditRecord): string {
  if (target) return `${target.class}:${target.id}`;
  const subject = DONE_TO.has(record.kind) ? named(record) : '';
  return subject || (record.resource.type ? `${record.resource.type}:${record.resource.id}` : '-');
}

/** The current actor, for the subject. */
const named = ({ subject, actors: [actor] }: Pick<AuditRecord, 'subject' | 'actors'>): string =>
  [actor, subject].flatMap((each) => (each ? [`${each.class}:${each.id}`] : [])).join(' for ');

/** The record as it is stored, with its place in the log. */
const line = ({ index, body }: StoredRecord): string => `{"index":${index},"record":${utf8.decode(body)}}`;

const utf8 = new TextDecoder();
