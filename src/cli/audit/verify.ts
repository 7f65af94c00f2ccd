import { createReadStream, existsSync, readdirSync, statSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { Command } from 'commander';
import type { Verdict } from '../../audit/proof/verification.ts';
import { GONE, type ReadFile, verifyTiles } from '../../audit/proof/verify-tiles.ts';
import { describe, ServiceError } from '../../errors.ts';
import { type Policy, refusalOf } from '../../merkle/policy.ts';
import { isProofOf, parseProof } from '../../merkle/proof-file.ts';
import { ExitCode, type GlobalOptions, globalsOf, print, printJson, warn } from '../terminal/output.ts';
import { Progress } from '../terminal/progress.ts';
import { visible } from '../terminal/visible.ts';
import { MANIFEST } from './export/manifest.ts';
import { goneFile } from './export/tiles.ts';
import { filesAt } from './files.ts';
import { policyIn, type Trusted, textOf } from './trust.ts';
import { VOLUME_SUFFIX, volumesIn } from './verify-volumes.ts';

interface VerifyOptions extends Trusted {
  readonly tenant?: string;
  readonly checkpoint?: string[];
}

interface Kept {
  readonly what: string;
  readonly source: string;
}

export const verifyCommand = (): Command =>
  new Command('verify')
    .description('prove a log or a receipt by its key, without trusting whoever keeps it')
    .argument(
      '<what>',
      'a receipt, a store (data_dir), a folder with the files of a log, a volume or a folder of them, the address of a log, or the manifest of an export as jsonl',
    )
    .option(
      '--key <vkey...>',
      'the verifier key of a log, as `mandate audit key` prints it, or a file with such keys, a line each',
    )
    .option('--policy <file>', 'a policy (c2sp.org/tlog-policy): logs, witnesses and a quorum of them')
    .option('-t, --tenant <id>', "of a store: this tenant's logs alone, of all servers whose are there")
    .option('--checkpoint <file...>', 'checkpoints that were kept elsewhere: the log must agree with each')
    .addHelpText(
      'after',
      `
An address is shown the credential where it is that of --admin, or where --credential is given.
It exits with 0 where everything is proved, with 1 where something is wrong, with 2 where it could not look.

Examples:
  $ mandate audit verify 41.tlog-proof --key acme.vkey
  $ mandate audit verify ./archive --key acme.vkey
  $ mandate audit verify ./data --policy logs.policy --checkpoint acme.checkpoint
  $ mandate audit verify acme.jsonl.manifest.json --key acme.vkey
  $ mandate audit verify https://mandate.example:7401/t/acme/log/main --key acme.vkey
`,
    )
    .action(async (what: string, options: VerifyOptions, command: Command) => {
      const globals = globalsOf(command);
      const policy = policyIn(options);
      const kept = (options.checkpoint ?? []).map((file) => ({ what: file, source: textOf(file) }));
      if (/^https?:\/\//.test(what)) return tell(globals, [await overHttp(what, policy, kept, command)]);
      const found = statSync(what, { throwIfNoEntry: false });
      if (!found) throw new ServiceError('invalid_request', `there is no ${what}`);
      if (!found.isDirectory() && what.endsWith(VOLUME_SUFFIX))
        return tell(globals, volumesIn([what], policy));
      if (what.endsWith(MANIFEST)) return tell(globals, [await ofExport(what, policy, kept)]);
      if (!found.isDirectory()) return receipt(globals, what, policy);
      if (existsSync(path.join(what, 'mandate.db')))
        return tell(globals, await inStore(what, policy, kept, options));
      if (existsSync(path.join(what, 'checkpoint')))
        return tell(globals, [await inFolder(what, policy, kept)]);
      const volumes = readdirSync(what, { recursive: true, encoding: 'utf8' })
        .filter((name) => name.endsWith(VOLUME_SUFFIX))
        .map((name) => path.join(what, name));
      if (volumes.length > 0) return tell(globals, volumesIn(volumes, policy));
      throw new ServiceError(
        'invalid_request',
        `${what} holds neither a store (mandate.db), nor a log (checkpoint), nor volumes (*${VOLUME_SUFFIX})`,
      );
    });

/** An entry is of 64 KiB at most, and a note of a megabyte. */
const MOST_RECEIPT_BYTES = 4 * 1024 * 1024;

function receipt(globals: GlobalOptions, file: string, policy: Policy): void {
  const problem = (text: string): void => {
    if (globals.json) printJson({ proved: false, fault: text });
    else print(`NOT PROVED  ${text}`);
    process.exitCode = ExitCode.deny;
  };
  if (statSync(file).size > MOST_RECEIPT_BYTES) return problem('the file is too large for a receipt');
  try {
    const proof = parseProof(textOf(file));
    const { extra: entry, index, checkpoint } = proof;
    const refusal = refusalOf(policy, checkpoint);
    if (!entry) return problem('the file proves an entry that it does not hold');
    if (refusal !== undefined) return problem(refusal);
    if (!isProofOf(proof, entry)) return problem(`it does not prove that the entry stands at ${index}`);
    const { origin, size } = checkpoint;
    const text = Buffer.from(entry).toString('utf8');
    if (globals.json)
      return printJson({ proved: true, origin, index, size, record: JSON.parse(text) as unknown });
    print(`proved: record ${index} of ${origin}, among ${size}`);
    print(visible(text));
  } catch (error) {
    if (error instanceof ServiceError) throw error;
    problem(describe(error));
  }
}

/** The manifest says which file it is of, beside it. Throws `invalid_request` for what proves nothing by itself. */
async function ofExport(file: string, policy: Policy, kept: Kept[]): Promise<Verdict> {
  const { parseManifest, verifyExport } = await import('../../audit/proof/verify-export.ts');
  try {
    if (statSync(file).size > MOST_RECEIPT_BYTES) throw new Error('it is too large for a manifest');
    const manifest = parseManifest(textOf(file));
    if (manifest.format !== 'jsonl')
      throw new Error(
        `it is of ${manifest.format}; an export as jsonl, which holds each entry byte for byte, can be proved`,
      );
    using progress = new Progress('entries');
    const source = path.join(path.dirname(file), manifest.files[0]?.name ?? '');
    return await verifyExport(manifest, createReadStream(source), policy, kept, progress.tell);
  } catch (cause) {
    if (cause instanceof ServiceError) throw cause;
    throw new ServiceError('invalid_request', `${file}: ${describe(cause)}`, { cause });
  }
}

async function inStore(
  folder: string,
  policy: Policy,
  kept: Kept[],
  { tenant }: VerifyOptions,
): Promise<Verdict[]> {
  const { openReader } = await import('../../storage/reader.ts');
  const { verifyStore } = await import('../../audit/proof/verify-store.ts');
  using progress = new Progress('entries');
  const db = openReader(folder);
  try {
    const verdicts: Verdict[] = [];
    for (const { tenant: name, ...verdict } of verifyStore(db, {
      policy,
      tenant,
      kept,
      progress: progress.tell,
    }))
      verdicts.push({ ...verdict, origin: verdict.origin === name ? `tenant ${name}` : verdict.origin });
    if (verdicts.length === 0)
      throw new ServiceError(
        'not_found',
        tenant ? `the store has no log of ${tenant}` : 'the store has no log',
      );
    return verdicts;
  } finally {
    db.close();
  }
}

async function inFolder(folder: string, policy: Policy, kept: Kept[]): Promise<Verdict> {
  using progress = new Progress('entries');
  const read: ReadFile = async (name) => {
    const file = path.join(folder, name);
    if (existsSync(file)) return await readFile(file);
    return existsSync(goneFile(file)) ? GONE : undefined;
  };
  return await verifyTiles(read, policy, kept, progress.tell);
}

async function overHttp(address: string, policy: Policy, kept: Kept[], command: Command): Promise<Verdict> {
  const { credential = '', timeout, admin } = globalsOf(command);
  // The one in the environment is for the server; who keeps a copy of the log is a stranger to it.
  const isForIt =
    command.getOptionValueSourceWithGlobals('credential') === 'cli' ||
    URL.parse(address)?.origin === URL.parse(admin)?.origin;
  const read = filesAt(address, { credential: isForIt ? credential : '', timeout });
  using progress = new Progress('entries');
  return await verifyTiles(read, policy, kept, progress.tell);
}

/** What is proved and what is not, a log a paragraph. */
function tell(globals: GlobalOptions, verdicts: readonly Verdict[]): void {
  const isWell =
    verdicts.every(({ faults }) => faults.length === 0) && verdicts.some(({ proved }) => proved > 0);
  if (!isWell) process.exitCode = ExitCode.deny;
  if (globals.json) return printJson({ proved: isWell, logs: verdicts });
  for (const { origin, entries, proved, faults, notes } of verdicts) {
    const beyond = entries - proved;
    if (faults.length > 0) print(`NOT PROVED  ${origin}: ${entries} entries`);
    else if (proved === 0) print(`unproved    ${origin}: ${entries} entries`);
    else
      print(
        `proved      ${origin}: ${proved} entries${beyond > 0 ? `; ${beyond} more came after the checkpoint` : ''}`,
      );
    for (const fault of faults) print(`  ${fault}`);
    for (const note of notes) print(`  ${note}`);
  }
  if (!isWell) warn('mandate: what stands there is not what was recorded, or was not recorded by these logs');
}
