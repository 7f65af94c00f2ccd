import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { connect } from '../requests.ts';
import type { Running } from '../server.ts';

/** Bundles as `opa build` makes them, and servers that have them. */

export const opa = (parameters: readonly string[], cwd?: string): Promise<unknown> =>
  promisify(execFile)(path.resolve('bin/opa'), parameters, { cwd });

export type Files = Readonly<Record<string, string>>;

export async function write(folder: string, files: Files): Promise<void> {
  for (const [name, text] of Object.entries(files)) {
    await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
    await writeFile(path.join(folder, name), text);
  }
}

/** The bundle that `opa build --bundle` makes of the files. */
export async function built(files: Files, more: readonly string[] = []): Promise<Buffer> {
  const folder = await mkdtemp(path.join(tmpdir(), 'mandate-bundle-'));
  try {
    await write(path.join(folder, 'of'), files);
    const to = path.join(folder, 'bundle.tar.gz');
    await opa(['build', '--bundle', '.', '-o', to, ...more], path.join(folder, 'of'));
    return await readFile(to);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A tenant's policy: bob reads, or does not. */
export const policy = (isOpen: boolean, more: Files = {}): Files => ({
  'authz/office.rego': `package authz\n\nallow if data.office.open\n\nreasons contains "office" if true\n`,
  'authz/office_test.rego':
    'package authz_test\n\nimport data.authz\n\ntest_says_why if "office" in authz.reasons with input as {}\n',
  'office/data.json': JSON.stringify({ open: isOpen, big: 1 }),
  ...more,
});

/** What a server was asked, and what it answers. */
export interface Served extends AsyncDisposable {
  readonly url: string;
  readonly requests: { readonly url: string; readonly headers: http.IncomingHttpHeaders }[];
  answer: (request: IncomingMessage, response: ServerResponse) => void;
}

export async function served(
  tls: https.ServerOptions | undefined,
  answer: Served['answer'] = (_request, response) => void response.writeHead(404).end(),
): Promise<Served> {
  const requests: Served['requests'] = [];
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    requests.push({ url: request.url ?? '', headers: request.headers });
    made.answer(request, response);
  };
  const server = tls ? https.createServer(tls, listener) : http.createServer(listener);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  const made: Served = {
    url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    requests,
    answer,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
  return made;
}

/** Answers a bundle with its tag, and 304 to who has it. */
export const withTag =
  (bytes: Buffer, etag: string, headers: Record<string, string> = {}): Served['answer'] =>
  (request, response) => {
    const isKnown = request.headers['if-none-match'] === etag;
    response.writeHead(isKnown ? 304 : 200, { etag, ...headers }).end(isKnown ? undefined : bytes);
  };

/** What an operator reads. */
export const readyz = async (server: Running): Promise<string> =>
  (await fetch(`${server.admin}/readyz?verbose`)).text();

export interface Administered {
  action?: string;
  caller: string;
  outcome: string;
  detail?: Record<string, string>;
}

export async function administered(server: Running, action: string): Promise<Administered[]> {
  const { body } = await connect<{ records: Administered[] }>(server.admin, 'AuditService/Query', {
    tenant: 'acme',
    kind: 'administration',
  });
  return body.records.filter((each) => each.action === action);
}
