import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { connect } from '../requests.ts';
import { bearer, type Options, type Running, secrets, startServer } from '../server.ts';

/** A server whose tenant acme seals what is said of a patient and of whoever asks. */

export const SEALED = [
  { path: '/context/patient', about: '/context/about' },
  { path: '/subject/properties/phone' },
  { path: '/resource/properties/notes', about: 'resource' },
  { path: '/action/properties/why', about: 'actor' },
];

export const sealing = (options: Options = {}): Promise<Running> =>
  startServer({
    ...options,
    acme: (manifest) => {
      manifest.audit = { sealed: SEALED };
      options.acme?.(manifest);
    },
  });

export const operator = bearer(secrets.operator);

/** What is said of ann, unlike anything else. */
export const PATIENT = { name: 'Ann-4711-Secretwell', diagnosis: ['angina-0815-pectoris', 12.5], seen: null };

export const asked = (about: string, patient: unknown = PATIENT) => ({
  tenant: 'acme',
  subject: { type: 'user', id: 'alice' },
  action: { name: 'document.read' },
  resource: { type: 'document', id: 'roadmap', properties: { project: 'apollo', sensitivity: 'internal' } },
  context: { about, patient, place: 'ward-7' },
});

export interface RecordJson {
  readonly index?: string;
  readonly decisionId: string;
  readonly action: string;
  readonly body: string;
  readonly opened?: string;
}

export interface Body {
  readonly kind: string;
  readonly sealed?: readonly string[];
  readonly reasons?: readonly { readonly code: string; readonly message: string }[];
  readonly input: {
    readonly subject: { readonly id: string; readonly properties?: Record<string, unknown> } | null;
    readonly context?: { readonly [name: string]: unknown; readonly patient?: unknown };
    readonly action: { readonly properties?: Record<string, unknown> };
    readonly resource: { readonly properties?: Record<string, unknown> };
  };
  readonly [member: string]: unknown;
}

const parsed = (base64: string): Body => JSON.parse(Buffer.from(base64, 'base64').toString('utf8')) as Body;

export interface ReadRecord {
  readonly index: number;
  readonly stored: Body;
  /** Undefined where nothing of it is sealed. */
  readonly opened: Body | undefined;
}

export const read = ({ index = '0', body, opened }: RecordJson): ReadRecord => ({
  index: Number(index),
  stored: parsed(body),
  opened: opened === undefined ? undefined : parsed(opened),
});

export async function query(server: Running, filter: object = {}): Promise<ReadRecord[]> {
  const { body } = await connect<{ records?: RecordJson[] }>(
    server.admin,
    'AuditService/Query',
    { tenant: 'acme', kind: 'decision', ...filter },
    operator,
  );
  return (body.records ?? []).map(read);
}

export const erase = (server: Running, name: string, more: object = {}) => {
  const colon = name.indexOf(':');
  const principal = { class: name.slice(0, colon), id: name.slice(colon + 1) };
  return connect<{ keys?: number; destroyedBefore?: number }>(
    server.admin,
    'AuditService/Erase',
    { tenant: 'acme', principal, ...more },
    operator,
  );
};

/** The files of a store, and of what else is kept beside it. */
export function filesOf(folder: string): { readonly name: string; readonly bytes: Buffer }[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .map((name) => ({ name: path.relative(folder, name), bytes: readFileSync(name) }));
}

/** The names of the files that hold these bytes. */
export const holding = (folder: string, needle: string | Buffer): string[] =>
  filesOf(folder)
    .filter(({ bytes }) => bytes.includes(needle))
    .map(({ name }) => name);
