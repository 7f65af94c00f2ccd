import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { buildRecord } from '../src/audit/record.ts';
import { systemRandom } from '../src/effects.ts';
import { tenantId, uuidv7 } from '../src/ids.ts';
import type { TenantNo } from '../src/storage/rows.ts';
import { Writer } from '../src/storage/writer.ts';

/**
 * `node bench/tail.ts [records]`: how many records a second `mandate audit tail` streams from a server on this machine,
 * from the first on, into a pipe: as rows and as JSON.
 */
const count = Number(process.argv[2] ?? 400_000);
const home = path.resolve(import.meta.dirname, '..');
const folder = mkdtempSync(path.join(os.tmpdir(), 'mandate-tail-'));
const store = path.join(folder, 'data');

async function fill(): Promise<void> {
  await using writer = await Writer.open({ folder: store });
  const { value } = await writer.run('putTenant', { id: tenantId('acme') });
  for (let done = 0; done < count; done += 500) {
    const parcel = writer.parcel();
    for (let at = done; at < Math.min(count, done + 500); at += 1)
      parcel.add(row(value.no, 1_767_225_600_000 + at));
    await writer.appendAll(parcel);
  }
}

function row(tenantNo: TenantNo, time: number): ReturnType<typeof buildRecord> {
  const subject = { class: 'user', id: `user-${time % 1_000}` } as const;
  const input = {
    now: new Date(time).toISOString(),
    tenant: { id: 'acme' },
    subject: {
      ...subject,
      properties: { clearance: 2 },
      groups: ['staff'],
      roles: ['reader'],
      status: 'active',
    },
    actors: [],
    action: { name: 'document.read', properties: {} },
    resource: { type: 'document', id: `doc-${time % 777}`, properties: { project: 'apollo' } },
    context: {},
    grant: null,
  };
  return buildRecord({
    tenantNo,
    time,
    kind: 'decision',
    outcome: 'allow',
    decisionId: uuidv7(time, systemRandom(10)),
    caller: 'service:docs-api',
    subject,
    actor: undefined,
    members: `,"revision":"sha256:${'0'.repeat(64)}","cost":123,"rules":["authz.allow"]`,
    input: JSON.stringify(input),
  });
}

async function streamed(admin: string, options: readonly string[]): Promise<number> {
  const began = performance.now();
  const command = [
    'src/cli/mandate.ts',
    '--admin',
    admin,
    ...options,
    'audit',
    'tail',
    '-t',
    'acme',
    '--from',
    '0',
  ];
  const child = spawn(process.execPath, command, { cwd: home, stdio: ['ignore', 'pipe', 'inherit'] });
  let lines = 0;
  for await (const chunk of child.stdout) {
    for (const byte of chunk as Buffer) if (byte === 10) lines += 1;
    if (lines >= count) break;
  }
  const seconds = (performance.now() - began) / 1_000;
  child.kill();
  return count / seconds;
}

try {
  mkdirSync(path.join(folder, 'tenants'));
  cpSync(path.join(home, 'policies/acme'), path.join(folder, 'tenants/acme'), { recursive: true });
  await fill();
  const places = ['--tenants', path.join(folder, 'tenants'), '--data-dir', store];
  const planes = ['--listen-data', '127.0.0.1:0', '--listen-admin', '127.0.0.1:0'];
  const server = spawn(process.execPath, ['src/cli/mandate.ts', 'serve', '--dev', ...places, ...planes], {
    cwd: home,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let admin = '';
  for await (const line of createInterface(server.stdout)) {
    admin ||= /admin plane (http:\S+)/.exec(line)?.[1] ?? '';
    if (line.includes('ready in')) break;
  }
  for (const options of [[], ['--json']])
    console.log(
      `${options.join('') || 'rows'}: ${Math.round(await streamed(admin, options))} records/s of ${count}`,
    );
  server.kill('SIGTERM');
  await once(server, 'exit');
} finally {
  rmSync(folder, { recursive: true, force: true });
}
