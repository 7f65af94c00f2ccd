import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { ServiceError } from '../../errors.ts';
import type { PolicySources } from '../sources.ts';
import type { Platform } from './platform.ts';

/** A folder that the compiler runs in: `platform/`, `tenant/`, `data/`, the schemas and capabilities.json. */
export interface Stage {
  readonly folder: string;
  readonly capabilities: string;
}

/** Which of a tenant's files are laid out: only what decides, the same with its data, or its tests beside. */
export type Laid = 'deciding' | 'planned' | 'tested';

/** Lays out a tenant's files in a folder of their own, which is gone afterwards. Throws `unavailable` if the disk fails. */
export async function staged<T>(
  { platform, capabilities }: { platform: Platform; capabilities: string },
  sources: PolicySources,
  laid: Laid,
  use: (stage: Stage) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'mandate-policy-')).catch(failed);
  try {
    const stage = { folder, capabilities: path.join(folder, 'capabilities.json') };
    await layOut(stage, platform, capabilities, sources, laid).catch(failed);
    return await use(stage);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function layOut(
  { folder, capabilities: place }: Stage,
  platform: Platform,
  capabilities: string,
  sources: PolicySources,
  laid: Laid,
): Promise<void> {
  await mkdir(path.join(folder, 'platform'));
  for (const [name, bytes] of platform.modules) await writeFile(path.join(folder, 'platform', name), bytes);
  await writeFile(path.join(folder, 'input.json'), platform.schema);
  await writeFile(path.join(folder, 'record.json'), platform.recordSchema);
  await writeFile(path.join(folder, 'approval.json'), platform.approvalSchema);
  await mkdir(path.join(folder, 'tenant'));
  for (const [name, text] of [...sources.modules, ...(laid === 'tested' ? sources.tests : [])]) {
    const file = path.join(folder, 'tenant', name);
    await mkdir(path.dirname(file), { recursive: true });
    await writeFile(file, text);
  }
  await mkdir(path.join(folder, 'data'));
  // What decides is compiled without data; only where data may stand in a rule's place the compiler is asked.
  await writeFile(
    path.join(folder, 'data', 'data.json'),
    laid === 'deciding' ? sources.beside : sources.data,
  );
  await writeFile(place, capabilities);
}

function failed(cause: unknown): never {
  throw new ServiceError('unavailable', 'the policy cannot be laid out for the compiler now', {
    cause,
    detail: String(cause),
  });
}
