/** What a server asks of Mandate, over HTTP with JSON and forms: no library is needed. */

export interface MandateOptions {
  /** The tenant's issuer, `https://…/t/acme`. */
  readonly issuer: string;
  /** Who asks, as the tenant knows it. */
  readonly clientId: string;
  readonly clientSecret: string;
}

/** What a token is, and for whom (RFC 7662). */
export interface Introspected {
  readonly active: boolean;
  readonly client_id?: string;
  readonly scope?: string;
  readonly exp?: number;
  readonly aud?: string | readonly string[];
}

export interface Resource {
  readonly type: string;
  readonly id: string;
  readonly properties: object;
}

export interface Decided {
  readonly decision: string;
  readonly reasons?: readonly {
    readonly code: string;
    readonly message?: string;
    readonly neededScopes?: readonly string[];
  }[];
}

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';

/** Every error of these is a deny: they throw, and nothing is done. */
export class Mandate {
  readonly issuer: string;
  readonly clientId: string;
  readonly #base: string;
  readonly #tenant: string;
  readonly #basic: string;
  readonly #bearer: string;

  constructor({ issuer, clientId, clientSecret }: MandateOptions) {
    const at = issuer.lastIndexOf('/t/');
    this.issuer = issuer;
    this.clientId = clientId;
    this.#base = issuer.slice(0, at);
    this.#tenant = issuer.slice(at + '/t/'.length);
    const credential = `${encodeURIComponent(clientId)}:${encodeURIComponent(clientSecret)}`;
    this.#basic = `Basic ${Buffer.from(credential).toString('base64')}`;
    this.#bearer = `Bearer ${clientSecret}`;
  }

  /** What a registered server's clients are to know (RFC 9728), by its address. */
  async resourceMetadata(resource: string): Promise<object> {
    const query = new URLSearchParams({ resource });
    return answered(await fetch(`${this.issuer}/.well-known/oauth-protected-resource?${query}`));
  }

  introspect(token: string): Promise<Introspected> {
    return this.#form('introspect', { token });
  }

  /** May whoever the token names do all of this? One answer an action, in their order. */
  async check(token: string, actions: readonly string[], resource: Resource): Promise<readonly Decided[]> {
    const { results } = await this.#json<{ results: Decided[] }>('/mandate.v1.DecisionService/CheckBatch', {
      tenant: this.#tenant,
      subjectToken: token,
      resource,
      items: actions.map((name) => ({ action: { name } })),
    });
    if (results.length !== actions.length) throw new Error('Mandate has not answered all of it');
    return results;
  }

  /** What whoever the token names may do with this: AuthZEN's search for actions. */
  async actions(token: string, resource: Resource): Promise<ReadonlySet<string>> {
    const { results } = await this.#json<{ results: { name: string }[] }>(
      `/t/${this.#tenant}/access/v1/search/action`,
      { resource, page: { limit: 1_000 } },
      { 'mandate-subject-token': token },
    );
    return new Set(results.map(({ name }) => name));
  }

  /** A token for the next server. The one that came in is for this one, and is never passed on. */
  async exchange(token: string, audience: string, scope: string): Promise<string> {
    const { access_token: next } = await this.#form<{ access_token: string }>('token', {
      grant_type: EXCHANGE,
      subject_token: token,
      subject_token_type: ACCESS_TOKEN,
      audience,
      scope,
    });
    return next;
  }

  async #form<T>(endpoint: string, fields: Record<string, string>): Promise<T> {
    const headers = { authorization: this.#basic };
    const body = new URLSearchParams(fields);
    return answered(await fetch(`${this.issuer}/oauth2/${endpoint}`, { method: 'POST', headers, body }));
  }

  async #json<T>(path: string, body: object, further: Record<string, string> = {}): Promise<T> {
    const headers = { 'content-type': 'application/json', authorization: this.#bearer, ...further };
    return answered(
      await fetch(`${this.#base}${path}`, { method: 'POST', headers, body: JSON.stringify(body) }),
    );
  }
}

async function answered<T>(response: Response): Promise<T> {
  // What it says is for this server's operator, who finds it in Mandate's log: clients are shown no more than this.
  if (!response.ok) throw new Error(`not allowed: Mandate answered ${response.status}`);
  return (await response.json()) as T;
}
