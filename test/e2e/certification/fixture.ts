import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { IncomingHttpHeaders } from 'node:http';
import https from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'vitest';
import { stringify } from 'yaml';
import { Authority } from '../authority.ts';
import { bearer, type Running, secrets, sha256, startIn, writeTenants } from '../server.ts';

/**
 * The certification scenario of AuthZEN's Authorization API 1.0 (openid/authzen, certification/
 * authorization-api-1_0-scenario.md), every case of every level, over TLS. The numbers are those of its anchors, `c-1-4`.
 */

/** c-1: the fixture. */
const MANIFEST = {
  id: 'cert',
  principals: [
    { class: 'user', id: 'alice' },
    { class: 'user', id: 'bob', properties: { role: 'admin' } },
    { class: 'service', id: 'pep', credentials: [{ secret_sha256: sha256(secrets.api) }] },
  ],
  resources: [
    { type: 'record', id: 'record-1', properties: { status: 'active' } },
    { type: 'record', id: 'record-2', properties: { status: 'archived' } },
  ],
  actions: { read: {}, write: {}, delete: {} },
};
const POLICY = `package authz

default allow := false

archived if input.resource.properties.status == "archived"

allow if {
	input.action.name == "read"
	input.subject.id in {"alice", "bob"}
}

allow if {
	input.action.name == "write"
	input.subject.id == "alice"
	not archived
}

allow if {
	input.action.name == "write"
	input.subject.properties.role == "admin"
	archived
}

allow if {
	input.action.name == "delete"
	input.subject.id == "alice"
	input.action.properties.soft == true
}
`;

/** A server with the fixture, and the addresses that a client finds. */
export class Certified implements AsyncDisposable {
  readonly base: string;
  /** By the names of the metadata. */
  readonly endpoints: Readonly<Record<string, string>>;
  readonly #folder: string;
  readonly #server: Running;
  readonly #ca: string;

  private constructor(folder: string, server: Running, ca: string, endpoints: Record<string, string>) {
    this.base = baseOf(server);
    this.endpoints = endpoints;
    this.#folder = folder;
    this.#server = server;
    this.#ca = ca;
  }

  static async start(): Promise<Certified> {
    const folder = await mkdtemp(path.join(tmpdir(), 'mandate-authzen-'));
    await writeTenants(folder);
    const tenant = path.join(folder, 'tenants', 'cert');
    await mkdir(tenant);
    await writeFile(path.join(tenant, 'tenant.yaml'), stringify(MANIFEST));
    await writeFile(path.join(tenant, 'authz.rego'), POLICY);
    const authority = await Authority.create(folder, 'ours');
    const { cert, key } = await authority.issue('server', { 'IP.1': '127.0.0.1' });
    const ca = authority.ca.pem.cert;
    const server = await startIn(folder, { overrides: { dev: false, tls: { cert, key } } });
    const { body } = await discovered(baseOf(server), ca);
    return new Certified(folder, server, ca, body as Record<string, string>);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
    await rm(this.#folder, { recursive: true, force: true });
  }

  metadata(): Promise<Answer> {
    return discovered(this.base, this.#ca);
  }

  evaluate(body: unknown, headers?: Record<string, string>): Promise<Answer> {
    return this.#post('access_evaluation_endpoint', body, headers);
  }

  evaluateAll(body: unknown): Promise<Answer> {
    return this.#post('access_evaluations_endpoint', body);
  }

  search(sought: string, body: unknown): Promise<Answer> {
    return this.#post(`search_${sought}_endpoint`, body);
  }

  #post(endpoint: string, body: unknown, headers: Record<string, string> = JSON_TYPE): Promise<Answer> {
    return send(
      this.#ca,
      this.endpoints[endpoint] ?? '',
      'POST',
      { authorization: bearer(secrets.api), ...headers },
      typeof body === 'string' ? body : JSON.stringify(body),
    );
  }
}

/** What a client is told. */
const baseOf = (server: Running): string => `https://127.0.0.1:${server.mandate.dataPort}/t/cert`;

/** c-6-1: the well-known part stands between the host and the path. */
const discovered = (base: string, ca: string): Promise<Answer> => {
  const { origin, pathname } = new URL(base);
  return send(ca, `${origin}/.well-known/authzen-configuration${pathname}`, 'GET', {});
};

export const JSON_TYPE = { 'content-type': 'application/json' };

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: unknown;
}

function send(
  ca: string,
  url: string,
  method: string,
  headers: Record<string, string>,
  text = '',
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = https.request(url, { ca, agent: false, method, headers }, (response) => {
      let received = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (received += chunk));
      response.on('end', () => {
        const { statusCode: status = 0, headers: answered } = response;
        resolve({ status, headers: answered, body: received === '' ? '' : JSON.parse(received) });
      });
    });
    request.on('error', reject);
    request.end(text);
  });
}

/** Status 200 and JSON, and the decision that the answer must have. */
export async function decides(asked: Promise<Answer>, decision: boolean): Promise<void> {
  const { status, headers, body } = await asked;
  expect([status, headers['content-type']]).toEqual([200, 'application/json']);
  const answer = body as { decision: unknown; context?: unknown };
  expect(answer.decision).toBe(decision);
  if (answer.context !== undefined) expect(answer.context).toBeTypeOf('object');
}

export async function decidesAll(
  asked: Promise<Answer>,
  decisions: readonly (boolean | undefined)[],
): Promise<void> {
  const { status, headers, body } = await asked;
  expect([status, headers['content-type']]).toEqual([200, 'application/json']);
  const { evaluations } = body as { evaluations: { decision: unknown }[] };
  expect(evaluations).toHaveLength(decisions.length);
  for (const [at, { decision }] of evaluations.entries()) {
    expect(decision).toBeTypeOf('boolean');
    if (decisions[at] !== undefined) expect(decision).toBe(decisions[at]);
  }
}

export const alice = { type: 'user', id: 'alice' };
export const bob = { type: 'user', id: 'bob' };
export const admin = { ...bob, properties: { role: 'admin' } };
export const record1 = { type: 'record', id: 'record-1' };
export const record2 = { type: 'record', id: 'record-2' };
export const active = { ...record1, properties: { status: 'active' } };
export const archived = { ...record2, properties: { status: 'archived' } };
export const [read, write] = [{ name: 'read' }, { name: 'write' }];
export const deletion = (soft: boolean) => ({ name: 'delete', properties: { soft } });
export const context = { time: '2025-06-27T18:03-07:00', ip: '192.168.1.1' };
export const first = { subject: alice, action: read, resource: record1 };
