import {
  type AuthProvider,
  type CallToolResult,
  Client,
  InsufficientScopeError,
  StreamableHTTPClientTransport,
} from '@modelcontextprotocol/client';

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';
const TASK = 'urn:mandate:params:oauth:token-type:task';

export interface AgentOptions {
  /** The tenant's issuer, `https://…/t/acme`. */
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: string;
  /** The MCP server that it uses. */
  readonly audience: string;
  /** What it is to have at most while the task lasts, and what it begins with; separated by spaces. */
  readonly most: string;
  readonly scope: string;
}

/** An agent at its work: it opens a task with its user's token, which it does not keep, and gets its own by the task. */
export class Agent implements AuthProvider {
  readonly #options: AgentOptions;
  #task = '';
  #scope: string;
  #token: string | undefined;

  constructor(options: AgentOptions) {
    this.#options = options;
    this.#scope = options.scope;
  }

  async open(userToken: string, purpose: string): Promise<void> {
    const { audience, most } = this.#options;
    const { task_id: task } = await this.#exchange({
      subject_token: userToken,
      subject_token_type: ACCESS_TOKEN,
      audience,
      scope: most,
      task_purpose: purpose,
    });
    this.#task = task;
  }

  /** What the SDK's client sends. */
  token = (): Promise<string | undefined> => Promise.resolve(this.#token);

  /** Called by it after a 401: there is no token yet, or the last one has ended. */
  async onUnauthorized(): Promise<void> {
    this.#token = undefined;
    const { access_token: token } = await this.#exchange({
      subject_token: this.#task,
      subject_token_type: TASK,
      audience: this.#options.audience,
      scope: this.#scope,
    });
    this.#token = token;
  }

  /** A client that calls as this agent. */
  async connect(url: URL): Promise<Client> {
    const client = new Client({ name: 'agent', version: '1' }, { versionNegotiation: { mode: 'auto' } });
    await client.connect(new StreamableHTTPClientTransport(url, { authProvider: this }));
    return client;
  }

  /** Calls a tool; where it takes more scopes than the token has, asks for those and calls it once again. */
  async call(client: Client, name: string, input: Record<string, unknown>): Promise<CallToolResult> {
    try {
      return await client.callTool({ name, arguments: input });
    } catch (error) {
      if (!(error instanceof InsufficientScopeError) || error.requiredScope === undefined) throw error;
      this.#scope = error.requiredScope;
      await this.onUnauthorized();
      return client.callTool({ name, arguments: input });
    }
  }

  async #exchange(fields: Record<string, string>): Promise<{ access_token: string; task_id: string }> {
    const { issuer, clientId, clientSecret } = this.#options;
    const response = await fetch(`${issuer}/oauth2/token`, {
      method: 'POST',
      body: new URLSearchParams({
        grant_type: EXCHANGE,
        client_id: clientId,
        client_secret: clientSecret,
        ...fields,
      }),
    });
    const body = (await response.json()) as {
      access_token: string;
      task_id: string;
      error_description?: string;
    };
    if (!response.ok) throw new Error(`no token: ${body.error_description}`);
    return body;
  }
}
