import { channel } from 'node:diagnostics_channel';
import Database from 'better-sqlite3';
import { ServiceError } from '../errors.ts';
import type { TenantNo } from './rows.ts';

/** What is wrong with the store, in an operator's words. */
export interface StoreFault {
  readonly text: string;
  /** Damage lasts until somebody has mended it and starts again; anything else may pass by itself. */
  readonly lasts: boolean;
  /** Whose log or principals it is about, where that is known. */
  readonly tenantNo?: TenantNo | undefined;
}

/** Published in the thread that meets a fault, each time: StoreFault. */
export const faultChannel = channel('mandate:store.fault');

/** Published when a log was set aside, as its operator knows that it is damaged: {tenantNo}. */
export const setAsideChannel = channel('mandate:store.set-aside');

export function reportFault(fault: StoreFault): void {
  faultChannel.publish(fault);
}

/** Thrown where the writer must not go on. */
export class Damaged extends Error {
  readonly fault: StoreFault;

  constructor(fault: StoreFault) {
    super(fault.text);
    this.fault = fault;
  }
}

/** SQLite's primary result codes that are about the store, and not about what it was asked. */
const lastsByCode: ReadonlyMap<string, boolean> = new Map([
  ['SQLITE_CORRUPT', true],
  ['SQLITE_NOTADB', true],
  ['SQLITE_IOERR', false],
  ['SQLITE_FULL', false],
  ['SQLITE_CANTOPEN', false],
  ['SQLITE_PERM', false],
  ['SQLITE_PROTOCOL', false],
  ['SQLITE_BUSY', false],
  ['SQLITE_LOCKED', false],
  ['SQLITE_NOMEM', false],
]);

/** What an error of SQLite's says of the store; undefined if nothing. */
export function faultIn(error: unknown): StoreFault | undefined {
  if (error instanceof Damaged) return error.fault;
  if (!(error instanceof Database.SqliteError)) return undefined;
  const lasts = lastsByCode.get(error.code.split('_', 2).join('_'));
  if (lasts === undefined) return undefined;
  return { text: `${lasts ? 'it is damaged' : 'it fails'}: ${error.message} (${error.code})`, lasts };
}

/** Reports a fault that a read met; the answer is what the reader is to throw. */
export function unreadable(error: unknown): unknown {
  const fault = faultIn(error);
  if (!fault) return error;
  reportFault(fault);
  return new ServiceError('unavailable', 'the store cannot be read', { cause: error, detail: fault.text });
}

/** Parses JSON that the store holds. Throws `unavailable`: what does not parse was not stored so. */
export function storedJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    const damage = { text: 'it is damaged: what stands in a row is no JSON', lasts: true };
    reportFault(damage);
    throw new ServiceError('unavailable', 'the store cannot be read', { cause, detail: damage.text });
  }
}
