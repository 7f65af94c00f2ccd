import { subscribe } from 'node:diagnostics_channel';
import path from 'node:path';
import v8 from 'node:v8';
import vm from 'node:vm';
import { Command } from 'commander';
import type { Config } from '../config.ts';
import { describe } from '../errors.ts';
import type { Mandate } from '../main.ts';
import { type Diagnostic, formatDiagnostic } from '../policy/diagnostics.ts';
import type { FolderNews } from '../policy/intake/fleet.ts';
import { isOfManifest, rejectionOf } from '../policy/intake/rejections.ts';
import { type LogRestarted, restartChannel } from '../tenancy/administration.ts';
import { ExitCode, print, warn } from './terminal/output.ts';

interface ServeOptions {
  config?: string;
  dev?: boolean;
  tenants?: string[];
  listenData?: string;
  listenAdmin?: string;
  dataDir?: string;
  acceptDamage?: string[];
  logLevel?: 'debug' | 'info' | 'warn' | 'error' | 'silent';
}

export function serveCommand(): Command {
  return new Command('serve')
    .description('serve decisions, delegations and the record')
    .option('--config <file>', 'a YAML file; docs/operators.md has its members (or MANDATE_CONFIG)')
    .option('--dev', 'loopback only; callers may leave out their credentials; a stand-in identity provider')
    .option('--tenants <folder...>', 'folders with a tenant.yaml, or folders of such folders')
    .option('--listen-data <address>', 'the data plane (default 127.0.0.1:7400)')
    .option('--listen-admin <address>', 'the admin plane (default 127.0.0.1:7401)')
    .option('--data-dir <folder>', 'the store and the keys (default ./data, or MANDATE_DATA_DIR)')
    .option(
      '--accept-damage <tenant...>',
      'where the log of the tenant is damaged: set it aside as it is, and begin a new one that says so',
    )
    .option(
      '--log-level <level>',
      'debug, info, warn, error or silent (default info, with --dev warn; or MANDATE_LOG_LEVEL)',
    )
    .addHelpText('after', '\nExample:\n  $ mandate serve --dev --tenants policies/acme\n')
    .action(async (options: ServeOptions) => serve(options));
}

async function serve(options: ServeOptions): Promise<void> {
  // The server and its configuration are loaded here alone: the other commands start in half the time without.
  const { readConfig } = await import('../config.ts');
  const config = readConfig(
    process.env,
    {
      dev: options.dev,
      data_dir: options.dataDir,
      data: options.listenData,
      admin: options.listenAdmin,
      tenants: options.tenants,
      accept_damage: options.acceptDamage,
      log_level: options.logLevel,
    },
    options.config,
  );
  if (options.dev && config.tenants.length === 0) {
    // Something to try Mandate out with, wherever it is installed.
    const example = path.join(config.home, 'policies', 'acme');
    print(`mandate: no tenants named; serving the example in ${example}`);
    return run({ ...config, tenants: [example] });
  }
  return run(config);
}

async function run(config: Config): Promise<void> {
  const [{ start }, { createLogger, logChannels }] = await Promise.all([
    import('../main.ts'),
    import('../telemetry/logs.ts'),
  ]);
  await using stack = new AsyncDisposableStack();
  stack.use(logChannels(createLogger(config.log_level)));
  announcePolicies();
  announceLogs();
  announceFolders();
  const began = performance.now();
  const mandate = stack.use(await start(config));
  collectStart();
  // Whoever reads that it is ready may stop it at once.
  const stopped = stopSignal();
  announce(config, mandate, performance.now() - began);
  const signal = await Promise.race([stopped, mandate.failed]);
  // Natural ends come first; this is for a thread that the disk or a loop holds, which nothing else ends.
  setTimeout(
    () => process.kill(process.pid, 'SIGKILL'),
    (config.drain_seconds + FORCE_SECONDS) * 1_000,
  ).unref();
  if (typeof signal === 'string') {
    warn(`mandate: ${signal}, finishing what runs`);
    return;
  }
  // Whoever supervises the process starts it again; what it held in memory may be behind the store.
  warn(`mandate: ${describe(signal)}; nothing can be recorded, so the process ends`);
  process.exitCode = ExitCode.error;
}

/**
 * Code that was read, documents that were parsed, modules that were linked: what the start leaves behind is a fifth of
 * the memory of a server at rest, and V8 would keep its place for as long as little is allocated.
 */
function collectStart(): void {
  v8.setFlagsFromString('--expose-gc');
  const gc: unknown = vm.runInNewContext('globalThis.gc');
  v8.setFlagsFromString('--no-expose-gc');
  // Only the last resort gives the place back that V8 has made itself for more of it.
  if (typeof gc === 'function') gc({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}

/** How long after the drain a process that does not end by itself is killed. The store survives that at any moment. */
const FORCE_SECONDS = 12;

/** A second signal a moment later does not wait. At once it is the same one: a terminal and a parent both pass it on. */
const SAME_SIGNAL_MS = 1_000;

function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    let first: number | undefined;
    for (const name of ['SIGTERM', 'SIGINT'] as const)
      process.on(name, () => {
        first ??= performance.now();
        if (performance.now() - first > SAME_SIGNAL_MS) process.exit(1);
        resolve(name);
      });
  });
}

function announce(config: Config, mandate: Mandate, tookMs: number): void {
  const tenants = [...mandate.tenants].map((tenant) => tenant.id);
  const list =
    tenants.length > 5
      ? `${tenants.slice(0, 5).join(', ')} and ${tenants.length - 5} more`
      : tenants.join(', ');
  if (config.dev)
    print(
      'mandate: DEVELOPMENT MODE: callers on this machine need no credential, anybody on it can get a token for any\n' +
        'mandate: user from the stand-in identity provider, and nothing is encrypted. Never use it for real data.',
    );
  if (tenants.length === 0) print('mandate: no tenants; name their folders with --tenants');
  else print(`mandate: tenants ${list}`);
  const scheme = config.tls ? 'https' : 'http';
  print(`mandate: data plane  ${scheme}://${config.data.host}:${mandate.dataPort}`);
  print(`mandate: admin plane ${scheme}://${config.admin.host}:${mandate.adminPort}`);
  print(`mandate: store       ${path.resolve(config.data_dir)}`);
  print(`mandate: ready in ${Math.round(tookMs)} ms`);
}

/** What became of the logs that `--accept-damage` names. */
function announceLogs(): void {
  subscribe(restartChannel.name, (message) => {
    const { tenant, log } = message as LogRestarted;
    if (!log)
      warn(`mandate: ${tenant}: the store has no tenant of this name, so --accept-damage does nothing`);
    else if (log === 'whole')
      warn(`mandate: ${tenant}: nothing is wrong with its log, so --accept-damage does nothing`);
    else warn(`mandate: ${tenant}: ${log.damage}; it was set aside as ${log.setAside}, and a new log begins`);
  });
}

/** Tenants that come and go with their folders. */
function announceFolders(): void {
  subscribe('mandate:tenant.folder', (message) => {
    const { folder, what, tenant, why } = message as FolderNews;
    if (what === 'served') print(`mandate: ${tenant} is served, from ${folder}`);
    else if (what === 'retired') warn(`mandate: ${tenant} is served no more: ${folder} is gone`);
    else warn(`mandate: the tenant in ${folder} is not served: ${why}`);
  });
}

/** For the author who edits beside it: what was taken and what was not, on the console. */
function announcePolicies(): void {
  subscribe('mandate:policy.activated', (message) => {
    const { tenant, revision } = message as { tenant: string; revision: string };
    print(`mandate: ${tenant} now decides by ${short(revision)}`);
  });
  subscribe('mandate:policy.mended', (message) => {
    const { tenant, revision } = message as { tenant: string; revision: string };
    print(`mandate: ${tenant}: the files on disk are taken again; it decides by ${short(revision)}`);
  });
  subscribe('mandate:policy.kept', (message) => {
    const { tenant, revision } = message as { tenant: string; revision: string };
    print(`mandate: ${tenant}: ${short(revision)} is kept, and decides once somebody activates it`);
  });
  subscribe('mandate:policy.unread', (message) => {
    const { tenant } = message as { tenant: string };
    print(`mandate: ${tenant}: its folder changed; it counts after "mandate policy reload -t ${tenant}"`);
  });
  subscribe('mandate:policy.rejected', (message) => {
    const { tenant, diagnostics, kept } = message as {
      tenant: string;
      diagnostics: Diagnostic[];
      kept: string;
    };
    warn(`mandate: ${tenant}: ${rejectionOf(diagnostics)}; ${stays(diagnostics, kept)}`);
    for (const diagnostic of diagnostics) warn(`  ${formatDiagnostic(diagnostic)}`);
  });
}

function stays(diagnostics: readonly Diagnostic[], kept: string): string {
  if (isOfManifest(diagnostics)) return 'the one before stays';
  return kept ? `${short(kept)} stays` : 'it has no policy yet and denies everything';
}

const short = (revision: string): string => revision.slice(0, 19);
