import { createHash } from 'node:crypto';
import { ServiceError } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import { HASH_BYTES } from '../../merkle/hashes.ts';
import type { SharedPart, TenantNo } from '../../storage/rows.ts';
import { MAX_RECORD_BYTES } from '../record.ts';
import { partsOf } from '../whole.ts';
import { type Entry, entryReader } from './entry.ts';
import { Unfit } from './fitting.ts';

/** A part of another server's log, as that sends it. */
export interface Shipment {
  readonly key: string;
  /** A signed note. */
  readonly checkpoint: string;
  readonly from: number;
  /** None: to ask how much is kept. */
  readonly entries: readonly Uint8Array[];
  readonly proof: readonly Uint8Array[];
  /** What its entries have in common with others. */
  readonly parts: readonly SharedPart[];
}

/** Whose log it is. */
export interface Owner {
  readonly id: TenantId;
  readonly no: TenantNo;
}

/** Of one shipment, at most. */
export const MOST_ENTRIES = 1_024;
const MOST_PARTS = 256;
/** Of a proof: twice the height of the highest tree. */
const MOST_HASHES = 2 * 53;
/** A checkpoint has two signatures at most, one of them of 2,420 bytes. */
const MOST_CHECKPOINT = 16 * 1_024;
const MOST_KEY = 4 * 1_024;

/** Throws `invalid_request`. */
export function checkBounds({ key, checkpoint, from, entries, proof, parts }: Shipment): void {
  const isSound =
    Number.isSafeInteger(from) &&
    key.length <= MOST_KEY &&
    checkpoint.length <= MOST_CHECKPOINT &&
    entries.length <= MOST_ENTRIES &&
    entries.every(({ length }) => length > 0 && length <= MAX_RECORD_BYTES) &&
    proof.length <= MOST_HASHES &&
    proof.every(({ length }) => length === HASH_BYTES) &&
    parts.length <= MOST_PARTS;
  if (!isSound)
    throw new ServiceError(
      'invalid_request',
      `a shipment is of ${MOST_ENTRIES} entries at most, each of 1 to ${MAX_RECORD_BYTES} bytes, with a checkpoint, a key and hashes of ${HASH_BYTES} bytes`,
    );
}

/** Which server's log a checkpoint says it is of. Throws `invalid_request` for what is no log of the tenant's. */
export function nodeIn({ id }: Owner, checkpoint: string): string {
  const [origin = ''] = checkpoint.split('\n', 1);
  const [, tenant, node] = /\/t\/([a-z0-9-]{1,63})\/log\/([a-z0-9-]{1,72})$/.exec(origin) ?? [];
  if (node !== undefined && tenant === id) return node;
  throw new ServiceError('invalid_request', `the checkpoint is of no log of ${id}`);
}

/** Throws `Unfit` for what could not be shown as a record. */
export function entriesOf(no: TenantNo, first: number, bodies: readonly Uint8Array[]): Entry[] {
  const read = entryReader(no);
  return bodies.map((body, at) => {
    const entry = read(body);
    if (!entry) throw new Unfit('entry', `entry ${first + at} is no record that this version knows`);
    return entry;
  });
}

/**
 * What the entries have in common, of which those that are new were read. Throws `Unfit` for a part that is not what it is
 * called by, or that none of them names.
 */
export function provenParts(
  { entries, parts }: Shipment,
  fresh: readonly Pick<Entry, 'parts'>[],
): readonly SharedPart[] {
  if (parts.length === 0) return parts;
  const again = entries.slice(0, entries.length - fresh.length).map((each) => Object.values(partsOf(each)));
  const named = new Set([...again, ...fresh.map((each) => each.parts)].flat());
  for (const { digest, body } of parts)
    if (!named.has(digest) || createHash('sha256').update(body).digest('hex') !== digest)
      throw new Unfit('entry', `what came with its entries as ${digest.slice(0, 64)} is none of theirs`);
  return parts;
}
