import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { sha256 } from '../bundle.ts';

/** The platform's own part of every policy: read once, so that what is laid out is what was hashed. */
export interface Platform {
  /** Rego by name. */
  readonly modules: ReadonlyMap<string, Buffer>;
  /** JSON Schema of the input. */
  readonly schema: Buffer;
  /** Of a record, which is the input of the package `audit`. */
  readonly recordSchema: Buffer;
  /** Of what the package `approval` is asked. */
  readonly approvalSchema: Buffer;
  readonly digest: string;
}

/** `policies` holds `platform/` and `schemas/`. */
export async function readPlatform(policies: string): Promise<Platform> {
  const folder = path.join(policies, 'platform');
  const names = (await readdir(folder)).filter((name) => name.endsWith('.rego')).sort();
  const modules = new Map<string, Buffer>();
  for (const name of names) modules.set(name, await readFile(path.join(folder, name)));
  const schema = await readFile(path.join(policies, 'schemas', 'input.json'));
  const recordSchema = await readFile(path.join(policies, 'schemas', 'record.json'));
  const approvalSchema = await readFile(path.join(policies, 'schemas', 'approval.json'));
  const made = [...modules].map(([name, bytes]) => [name, sha256(bytes)]);
  const digest = sha256(JSON.stringify([made, ...[schema, recordSchema, approvalSchema].map(sha256)]));
  return { modules, schema, recordSchema, approvalSchema, digest };
}

export const textsOf = (modules: Platform['modules']): ReadonlyMap<string, string> =>
  new Map([...modules].map(([name, bytes]) => [name, bytes.toString()]));
