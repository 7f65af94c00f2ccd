import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { unpackTar } from 'modern-tar';
import { z } from 'zod';
import type { TenantId } from '../../ids.ts';
import { isRead } from '../../tenancy/folder/names.ts';
import { canonicalised } from '../../tenancy/folder/parser.ts';
import { MANIFEST } from '../../tenancy/manifest-invalid.ts';
import type { SourceFile } from '../sources.ts';
import { notTaken } from './refused.ts';
import { SIGNATURES, type Verification, verified } from './signatures.ts';

/** Of all that is in an archive; Rego and data have bounds of their own. */
const MAX_UNPACKED_BYTES = 96 * 1024 * 1024;
const MAX_ENTRIES = 20_000;

/** What of a bundle's own manifest matters here. */
const manifestForm = z.looseObject({
  revision: z.string().max(4_096).optional(),
  rego_version: z.int().optional(),
  file_rego_versions: z.record(z.string(), z.int()).optional(),
  wasm: z.array(z.unknown()).optional(),
  metadata: z.looseObject({ tenant: z.string().optional() }).optional(),
});

/** What a tenant's policy is made from. */
export interface Unpacked {
  readonly files: readonly SourceFile[];
  /** What its author calls it; may be empty. */
  readonly label: string;
}

/**
 * The Rego and the data of an OPA bundle (a gzipped tar), verified where there is something to verify it by. As in OPA,
 * what is neither is left alone. One that Mandate serves is of the tenant it names alone, and of it what is the platform's
 * is left out: that is the server's own. Throws `policy_invalid`.
 */
export async function unpackedBundle(
  bytes: Uint8Array,
  tenant: TenantId,
  verification: Verification | undefined,
): Promise<Unpacked> {
  const archive = await entriesOf(bytes);
  const taken = verification ? await verified(archive, verification) : archive;
  taken.delete(SIGNATURES);
  const manifest = manifestIn(taken);
  for (const name of taken.keys()) {
    const base = name.slice(name.lastIndexOf('/') + 1);
    if (base === 'policy.wasm' || base === 'plan.json' || base === 'plan.pb')
      throw notTaken(
        `it holds ${name}, so what is in it is not all Rego: opa build -t rego makes one that is`,
      );
    if (base === 'patch.json') throw notTaken('it is a delta, which only says what changed');
  }
  const of = manifest.metadata?.tenant;
  const isOurs = of !== undefined && [...taken.keys()].some((name) => name.startsWith('platform/'));
  if (isOurs && of !== tenant) throw notTaken(`it is the policy of the tenant ${of.slice(0, 64)}`);
  const files = isOurs ? await ofTenant(taken) : taken;
  const read = [...files].filter(([name]) => isRead(name) && name !== MANIFEST);
  if (!read.some(([name]) => name.endsWith('.rego'))) throw notTaken('it holds no Rego');
  return {
    files: read.map(([path, content]) => ({ path, bytes: content })),
    label: (manifest.revision ?? '').replace(/\p{C}/gu, ' ').slice(0, 256),
  };
}

async function entriesOf(bytes: Uint8Array): Promise<Map<string, Buffer>> {
  const archive = new Map<string, Buffer>();
  let entries: Awaited<ReturnType<typeof unpackTar>>;
  try {
    const tar = await promisify(gunzip)(bytes, { maxOutputLength: MAX_UNPACKED_BYTES });
    entries = await unpackTar(tar, { strict: true });
  } catch (cause) {
    const isLarge = (cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE';
    throw notTaken(
      isLarge ? `it is more than ${MAX_UNPACKED_BYTES} bytes, unpacked` : 'it is no gzipped tar',
    );
  }
  if (entries.length > MAX_ENTRIES) throw notTaken(`more than ${MAX_ENTRIES} files`);
  for (const { header, data } of entries) {
    if (header.type === 'directory' || header.type === 'pax-header' || header.type === 'pax-global-header')
      continue;
    const name = header.name.replace(/^(?:\.?\/)+/, '');
    if (header.type !== 'file' && header.type !== undefined)
      throw notTaken(`${name.slice(0, 256)} is a ${header.type} and no file`);
    if (archive.has(name)) throw notTaken(`${name.slice(0, 256)} stands twice in it`);
    archive.set(name, Buffer.from(data ?? new Uint8Array()));
  }
  return archive;
}

function manifestIn(archive: ReadonlyMap<string, Buffer>): z.infer<typeof manifestForm> {
  for (const name of archive.keys())
    if (/(?:^|\/)\.manifest(?:\.pb)?$/.test(name) && name !== '.manifest')
      throw notTaken(`it has its manifest as ${name.slice(0, 256)}`);
  const text = archive.get('.manifest')?.toString('utf8');
  if (text === undefined) return {};
  let manifest: z.infer<typeof manifestForm>;
  try {
    manifest = manifestForm.parse(JSON.parse(text));
  } catch {
    throw notTaken('its manifest is not of OPA’s form');
  }
  const versions = [manifest.rego_version ?? 1, ...Object.values(manifest.file_rego_versions ?? {})];
  if (versions.some((version) => version !== 1))
    throw notTaken('it is written in Rego v0: opa fmt --rego-v1 makes v1 of it');
  if ((manifest.wasm ?? []).length > 0)
    throw notTaken('it is compiled: opa build -t rego makes one that is not');
  return manifest;
}

/** See `bundleFiles`: the tenant's Rego is in a folder of its own, and the platform's data in the one document. */
async function ofTenant(archive: ReadonlyMap<string, Buffer>): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const [name, bytes] of archive)
    if (name.startsWith('tenant/')) files.set(name.slice('tenant/'.length), bytes);
  const data = archive.get('data.json');
  if (!data || files.has('data.json')) return files;
  const own = await canonicalised(data.toString('utf8'), ['mandate']);
  if ('problem' in own) throw notTaken(`data.json: ${own.problem}`);
  if (own.canonical !== '{}') files.set('data.json', Buffer.from(own.canonical));
  return files;
}
