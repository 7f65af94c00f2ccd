import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { Command, Option } from 'commander';
import { GONE, type ReadFile } from '../../audit/proof/verify-tiles.ts';
import { type AuditRecord, readRecord } from '../../audit/read.ts';
import { ServiceError } from '../../errors.ts';
import { AuditService } from '../../gen/mandate/v1/audit_pb.ts';
import { entriesIn } from '../../merkle/bundle.ts';
import { parseCheckpoint } from '../../merkle/checkpoint.ts';
import { tilePath } from '../../merkle/tile-path.ts';
import { TILE_WIDTH } from '../../merkle/tree.ts';
import { addressOf } from '../address.ts';
import { clientOf } from '../client.ts';
import { type GlobalOptions, globalsOf, print, printJson } from '../terminal/output.ts';
import { Progress } from '../terminal/progress.ts';
import { filesAt } from './files.ts';

interface ExportOptions {
  readonly tenant: string;
  readonly node: string;
  readonly format: 'tiles' | 'jsonl' | 'csv';
  readonly open?: boolean;
}

export const exportCommand = (): Command =>
  new Command('export')
    .description("copy a tenant's log, up to its newest checkpoint")
    .argument('<to>', 'a folder for tiles, else a file')
    .requiredOption('-t, --tenant <id>', 'the tenant')
    .addOption(
      new Option(
        '--format <format>',
        'tiles can be verified, and are gone on with where they are there already',
      )
        .choices(['tiles', 'jsonl', 'csv'])
        .default('tiles'),
    )
    .option('--node <name>', "the server's name in the log", 'main')
    .option(
      '--open',
      'with --format jsonl: what is sealed in the clear, where it may be had; no erasure reaches that file',
    )
    .addHelpText(
      'after',
      `
Examples:
  $ mandate audit export acme.log -t acme
  $ mandate audit verify acme.log --key acme.vkey
  $ mandate audit export acme.csv -t acme --format csv
`,
    )
    .action(async (to: string, options: ExportOptions, command: Command) => {
      const globals = globalsOf(command);
      if (options.open && options.format !== 'jsonl')
        throw new ServiceError(
          'invalid_request',
          '--open is for --format jsonl: tiles are what the log is made of',
        );
      const opened = options.open ? opening(globals, options.tenant) : asStored;
      const address = `${addressOf('admin', globals)}/t/${options.tenant}/log/${options.node}`;
      const read = filesAt(address, globals);
      const source = Buffer.from(await needed(read, 'checkpoint')).toString('utf8');
      const { origin, size } = parseCheckpoint(source);
      if (options.format === 'tiles') refuseOther(to, origin, size);
      using progress = new Progress('entries');
      const gone = await (options.format === 'tiles'
        ? tilesInto(to, read, source, size, progress.tell)
        : linesInto(to, options.format, read, opened, size, progress.tell));
      progress[Symbol.dispose]();
      if (globals.json) return printJson({ origin, size, gone, to });
      print(`${to}: ${size - gone} entries of ${origin}`);
      if (gone > 0) print(`${gone} more were archived or removed: \`mandate audit volumes\` says which`);
    });

/** What is full is kept as it is there, so it must be of this log. Throws `invalid_request`. */
function refuseOther(folder: string, origin: string, size: number): void {
  const refuse = (why: string): ServiceError => new ServiceError('invalid_request', `${folder} holds ${why}`);
  const [checkpoint, name] = [path.join(folder, 'checkpoint'), path.join(folder, 'origin')];
  const there = existsSync(checkpoint) ? parseCheckpoint(readFileSync(checkpoint, 'utf8')) : undefined;
  const known = there?.origin ?? (existsSync(name) ? readFileSync(name, 'utf8').trim() : undefined);
  if (known === undefined && existsSync(path.join(folder, 'tile')))
    throw refuse('tiles of a log, and nothing that says of which');
  if (known !== undefined && known !== origin) throw refuse(`the log ${known}, and this is ${origin}`);
  if (there && there.size > size)
    throw refuse(
      `${there.size} entries, and the server states ${size}: its store was put back; keep the folder`,
    );
  // An export that was broken off is gone on with.
  put(name, Buffer.from(`${origin}\n`));
}

/** The checkpoint goes last: it is there once all is that it states. What is full never changes, and is kept. */
async function tilesInto(
  folder: string,
  read: ReadFile,
  source: string,
  size: number,
  progress: (done: number, total: number) => void,
): Promise<number> {
  let gone = 0;
  for (let level = 1, count = size; ; level += 1) {
    count = Math.floor(count / TILE_WIDTH);
    if (count === 0) break;
    for (let at = 0; at * TILE_WIDTH < count; at += 1)
      await keep(folder, tilePath({ level, at, width: Math.min(TILE_WIDTH, count - at * TILE_WIDTH) }), read);
  }
  for (let at = 0; at * TILE_WIDTH < size; at += 1) {
    const width = Math.min(TILE_WIDTH, size - at * TILE_WIDTH);
    const kept = await Promise.all(
      ([0, 'entries'] as const).map((level) => keep(folder, tilePath({ level, at, width }), read)),
    );
    if (kept.includes(false)) gone += width;
    progress(at * TILE_WIDTH + width, size);
  }
  put(path.join(folder, 'checkpoint'), Buffer.from(source));
  return gone;
}

/** In the place of entries that were archived or removed before they were copied. */
export const goneFile = (file: string): string => `${file}.gone`;

/** Answers whether it is there. */
async function keep(folder: string, name: string, read: ReadFile): Promise<boolean> {
  const file = path.join(folder, name);
  if (existsSync(file)) return true;
  if (existsSync(goneFile(file))) return false;
  const bytes = await found(read, name);
  if (bytes === GONE) put(goneFile(file), new Uint8Array());
  else put(file, bytes);
  return bytes !== GONE;
}

/** Whole or not at all: what is there is not asked for again. */
function put(file: string, bytes: Uint8Array): void {
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
  writeFileSync(`${file}.part`, bytes, { mode: 0o600 });
  renameSync(`${file}.part`, file);
}

async function needed(read: ReadFile, name: string): Promise<Uint8Array> {
  const bytes = await found(read, name);
  if (bytes !== GONE) return bytes;
  throw new ServiceError('gone', `${name} is not there any more`);
}

async function found(read: ReadFile, name: string): Promise<Uint8Array | typeof GONE> {
  const bytes = await read(name);
  if (bytes === undefined)
    throw new ServiceError(
      'unavailable',
      `${name} is damaged in the store, or missing; \`mandate audit verify\` names what`,
    );
  return bytes;
}

async function linesInto(
  file: string,
  format: 'jsonl' | 'csv',
  read: ReadFile,
  opened: Opened,
  size: number,
  progress: (done: number, total: number) => void,
): Promise<number> {
  let gone = 0;
  const part = `${file}.part`;
  await rm(part, { force: true });
  const out = await open(part, 'wx', 0o600);
  try {
    if (format === 'csv') await out.writeFile(`${columns.map(([name]) => name).join(',')}\r\n`);
    for (let at = 0; at * TILE_WIDTH < size; at += 1) {
      const width = Math.min(TILE_WIDTH, size - at * TILE_WIDTH);
      const name = tilePath({ level: 'entries', at, width });
      const bundle = await found(read, name);
      if (bundle === GONE) gone += width;
      const stored = bundle === GONE ? [] : entriesOf(bundle, name, width);
      const lines = (await Promise.all(stored.map(opened))).map((body, place) => {
        const index = at * TILE_WIDTH + place;
        return format === 'csv'
          ? `${columns.map(([, cell]) => quoted(cell(readRecord({ index, body })))).join(',')}\r\n`
          : `{"index":${index},"record":${Buffer.from(body).toString('utf8')}}\n`;
      });
      await out.writeFile(lines.join(''));
      progress(at * TILE_WIDTH + width, size);
    }
    await out.close();
    await rename(part, file);
    return gone;
  } catch (error) {
    await out.close();
    await rm(part, { force: true });
    throw error;
  }
}

/** A record as who may read it sees it. */
type Opened = (stored: Uint8Array) => Promise<Uint8Array>;

const asStored: Opened = async (stored) => stored;

/** Those of which something is sealed are asked for, each by its decision. */
function opening(globals: GlobalOptions, tenant: string): Opened {
  const client = clientOf(AuditService, 'admin', globals);
  return async (stored) => {
    const { sealed, decision_id: decisionId } = JSON.parse(utf8.decode(stored)) as {
      sealed?: readonly string[];
      decision_id: string;
    };
    if (!sealed) return stored;
    let pageToken = '';
    do {
      const page = await client.query({ tenant, decisionId, pageSize: 1, pageToken });
      const [found] = page.records;
      if (found) return found.opened.length > 0 ? found.opened : stored;
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return stored;
  };
}

const utf8 = new TextDecoder();

/** Throws `unavailable`: fewer or other entries than were asked for are no export. */
function entriesOf(bytes: Uint8Array, name: string, width: number): readonly Uint8Array[] {
  const { entries, rest } = entriesIn(bytes);
  if (entries.length === width && rest === 0) return entries;
  throw new ServiceError('unavailable', `${name} does not hold the ${width} entries that it should`);
}

const nameOf = (one: { class: string; id: string } | undefined): string =>
  one ? `${one.class}:${one.id}` : '';

const columns: readonly (readonly [string, (record: AuditRecord) => string])[] = [
  ['index', ({ index }) => String(index)],
  ['time', ({ time }) => new Date(time).toISOString()],
  ['kind', ({ kind }) => kind],
  ['outcome', ({ outcome }) => outcome],
  ['subject', ({ subject }) => nameOf(subject)],
  ['actors', ({ actors }) => actors.map(nameOf).join(' ')],
  ['target', ({ target }) => nameOf(target)],
  ['action', ({ action }) => action],
  ['resource', ({ resource: { type, id } }) => (type === '' ? '' : `${type}:${id}`)],
  ['reasons', ({ reasons }) => reasons.map(({ code }) => code).join(' ')],
  ['rules', ({ rules }) => rules.join(' ')],
  ['revision', ({ revision }) => revision],
  ['decision_id', ({ decisionId }) => decisionId],
  ['grant_id', ({ grantId }) => grantId],
  ['caller', ({ caller }) => caller],
];

/** RFC 4180. What a spreadsheet would take for a formula is made text: a caller may have named a resource so. */
function quoted(cell: string): string {
  const text = /^[=+\-@\t\r]/.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
