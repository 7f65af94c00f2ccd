import { X509Certificate } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import https from 'node:https';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Authority, type Pair } from '../e2e/authority.ts';
import { type CheckJson, exchangeFields, type TokenJson, tokenReads } from '../e2e/requests.ts';
import { basic, bearer, type Options } from '../e2e/server.ts';
import { agent, type Client, mcp, Stage } from './stage.ts';

/** A stage that is entered over TLS, with certificates of an authority that it takes, and one of another authority. */

/** What tokens that outlast a restart are by. */
const BASE = 'https://mandate.acme.example';

export interface Sent {
  /** Whose certificate the connection is by; undefined: nobody's. */
  readonly over?: Pair | undefined;
  readonly by?: Client | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly admin?: boolean;
}

export interface Got<T> {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: T;
}

export class CertifiedStage implements AsyncDisposable {
  readonly #folder: string;
  readonly ours: Authority;
  readonly theirs: Authority;
  readonly stage: Stage;

  private constructor(folder: string, ours: Authority, theirs: Authority, stage: Stage) {
    this.#folder = folder;
    this.ours = ours;
    this.theirs = theirs;
    this.stage = stage;
  }

  static async open(options: Options = {}): Promise<CertifiedStage> {
    const folder = await mkdtemp(path.join(tmpdir(), 'mandate-certified-'));
    const [ours, theirs] = await Promise.all([
      Authority.create(folder, 'ours'),
      Authority.create(folder, 'theirs'),
    ]);
    const { cert, key } = await ours.issue('server', { 'IP.1': '127.0.0.1' });
    const tls = { cert, key, client_ca: ours.ca.cert };
    const overrides = { base_url: BASE, tls, ...options.overrides };
    return new CertifiedStage(folder, ours, theirs, await Stage.open({ ...options, overrides }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stage[Symbol.asyncDispose]();
    await rm(this.#folder, { recursive: true, force: true });
  }

  get address(): { readonly host: string; readonly port: number } {
    return { host: '127.0.0.1', port: this.stage.server.mandate.dataPort };
  }

  /** One request on a connection of its own. */
  send<T>(at: string, content: object | URLSearchParams | undefined, sent: Sent = {}): Promise<Got<T>> {
    const isForm = content instanceof URLSearchParams;
    const { mandate } = this.stage.server;
    const options = {
      ...this.address,
      ...(sent.admin && { port: mandate.adminPort }),
      ca: this.ours.ca.pem.cert,
      ...sent.over?.pem,
      agent: false,
      method: content === undefined ? 'GET' : 'POST',
      path: at,
      headers: {
        ...(content && { 'content-type': isForm ? FORM : 'application/json' }),
        ...(sent.by && { authorization: basic(sent.by.id, sent.by.secret) }),
        ...sent.headers,
      },
    } as const;
    return new Promise((resolve, reject) => {
      const request = https.request(options, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (text += chunk));
        response.on('end', () => {
          const { statusCode: status = 0, headers } = response;
          resolve({ status, headers, body: (text === '' ? {} : JSON.parse(text)) as T });
        });
      });
      request.on('error', reject);
      request.end(content && (isForm ? content.toString() : JSON.stringify(content)));
    });
  }

  exchange(
    subjectToken: string,
    fields: Record<string, string> = {},
    sent: Sent = {},
  ): Promise<Got<TokenJson>> {
    const content = new URLSearchParams(exchangeFields(subjectToken, fields));
    return this.send('/t/acme/oauth2/token', content, { by: agent, ...sent });
  }

  /** A token of alice's for research-agent, as it is given over that connection. */
  async granted(over: Pair | undefined, fields: Record<string, string> = {}): Promise<string> {
    const { body } = await this.exchange(await this.stage.issuer.sign(), fields, { over });
    if (!body.access_token) throw new Error(`no token: ${JSON.stringify(body)}`);
    return body.access_token;
  }

  /** As docs-mcp asks, which says who presented the token. */
  async check(token: string, proof?: object, server: Client = mcp): Promise<CheckJson> {
    const headers = { authorization: bearer(server.secret) };
    const asked = { ...tokenReads(token, ''), proof };
    return (await this.send<CheckJson>('/mandate.v1.DecisionService/Check', asked, { headers })).body;
  }

  async introspect(token: string, by = agent): Promise<Record<string, unknown>> {
    const content = new URLSearchParams({ token });
    return (await this.send<Record<string, unknown>>('/t/acme/oauth2/introspect', content, { by })).body;
  }

  async records(filter: object): Promise<Record<string, unknown>[]> {
    const asked = { tenant: 'acme', pageSize: 5, ...filter };
    const { body } = await this.send<{ records?: Record<string, unknown>[] }>(
      '/mandate.v1.AuditService/Query',
      asked,
      { admin: true },
    );
    return body.records ?? [];
  }
}

const FORM = 'application/x-www-form-urlencoded';

/** RFC 8705 section 3.1, by node:crypto's own reading of the certificate. */
export const thumbprint = ({ pem }: Pair): string =>
  Buffer.from(new X509Certificate(pem.cert).fingerprint256.replaceAll(':', ''), 'hex').toString('base64url');
