import { type Issuer, startIssuer, trustIn } from '../e2e/issuer.ts';
import {
  type Answer,
  type CheckJson,
  check,
  connect,
  exchangeFields,
  form,
  type TokenJson,
  tokenReads,
} from '../e2e/requests.ts';
import { bearer, type Options, type Running, secrets, sha256, startIn, startServer } from '../e2e/server.ts';

/** Where the attacks are played: acme with an issuer whose key is at hand, two agents, and one named like a user. */

export interface Client {
  readonly id: string;
  readonly secret: string;
}

export const agent: Client = { id: 'research-agent', secret: secrets.agent };
export const otherAgent: Client = { id: 'other-agent', secret: secrets.otherAgent };
/** The agent whose id is a user's. */
export const alias: Client = { id: 'alice', secret: secrets.alias };
export const mcp: Client = { id: 'docs-mcp', secret: secrets.mcp };
export const api: Client = { id: 'docs-api', secret: secrets.api };
export const globexAgent: Client = { id: 'research-agent', secret: secrets.globexAgent };

type Fields = Readonly<Record<string, string>>;

export class Stage implements AsyncDisposable {
  #server: Running;
  readonly issuer: Issuer;
  readonly #options: Options;

  private constructor(server: Running, issuer: Issuer, options: Options) {
    this.#server = server;
    this.#options = options;
    this.issuer = issuer;
  }

  /** `answer`: see `startIssuer`. */
  static async open(options: Options = {}, answer?: Parameters<typeof startIssuer>[0]): Promise<Stage> {
    const issuer = await startIssuer(answer);
    const server = await startServer({
      ...options,
      acme: (manifest) => {
        manifest.issuers = [trustIn(issuer.url)];
        for (const { id, secret } of [otherAgent, alias])
          manifest.principals.push({
            class: 'agent',
            id,
            credentials: [{ secret_sha256: sha256(secret) }],
            ceiling: { scopes: ['docs.read'], audiences: ['docs-mcp'] },
          });
        options.acme?.(manifest);
      },
    });
    return new Stage(server, issuer, options);
  }

  get server(): Running {
    return this.#server;
  }

  /** On other ports: tokens of before are ours still where the options have a `base_url`. */
  async restart(options = this.#options): Promise<void> {
    await this.#server.stop();
    this.#server = await startIn(this.#server.folder, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
    await this.issuer[Symbol.asyncDispose]();
  }

  exchange(subjectToken: string, fields: Fields = {}, client = agent): Promise<Answer<TokenJson>> {
    return form(this.server.data, 'token', exchangeFields(subjectToken, fields), client);
  }

  /** A good token: alice's, for research-agent to read at docs-mcp. */
  async granted(fields: Fields = {}): Promise<string> {
    const { body } = await this.exchange(await this.issuer.sign(), fields);
    if (!body.access_token) throw new Error(`no token: ${JSON.stringify(body)}`);
    return body.access_token;
  }

  /** Decides a read by whoever the token names, as a server asks. */
  async check(token: string, server = mcp): Promise<CheckJson> {
    return (await check(this.server.data, tokenReads(token, ''), bearer(server.secret))).body;
  }

  async introspect(token: string, client = agent, tenant = 'acme'): Promise<object> {
    return (await form<object>(this.server.data, 'introspect', { token }, client, tenant)).body;
  }

  revoke(token: string, client = agent, tenant = 'acme'): Promise<Answer<object>> {
    return form<object>(this.server.data, 'revoke', { token }, client, tenant);
  }

  async records(filter: object): Promise<Record<string, unknown>[]> {
    const { body } = await connect<{ records?: Record<string, unknown>[] }>(
      this.server.admin,
      'AuditService/Query',
      { tenant: 'acme', pageSize: 5, ...filter },
    );
    return body.records ?? [];
  }

  async setStatus(cls: string, id: string, status: 'ACTIVE' | 'DISABLED'): Promise<void> {
    const { status: code } = await connect(this.server.admin, 'TenantService/SetPrincipalStatus', {
      tenant: 'acme',
      class: cls,
      id,
      status: `PRINCIPAL_STATUS_${status}`,
    });
    if (code !== 200) throw new Error(`setting the status of ${cls}:${id} answered ${code}`);
  }
}

/** What an answer says in short: status, OAuth error and stable code. */
export const refusalOf = ({ status, body }: Answer<TokenJson>) => ({
  status,
  error: body.error,
  code: body.code,
});

/** 400 invalid_request with this code: RFC 8693 section 2.2.2. */
export const refused = (code: string) => ({ status: 400, error: 'invalid_request', code });

/** The code of the reason of a deny. */
export const deniedFor = (code: string) => ({ decision: 'DECISION_DENY', reasons: [{ code }] });
