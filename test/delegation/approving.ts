import { type Answer, check, connect, postJson, request } from '../e2e/requests.ts';
import { bearer, type Options, secrets, sha256 } from '../e2e/server.ts';
import { Stage } from './stage.ts';

/** Where approvals are played: acme in which publishing is to be approved by compliance, and a console that approvers use. */

export const consoleSecret = 'acme-console-test-secret-0000000001';
const AUTHZ = `package authz

challenge := {"type": "approval", "template": "manager", "expires_in": 3600, "valid_for": 600, "uses": uses, "context": ["ticket"]} if {
	input.action.name == "document.publish"
	not input.approval
}

uses := 3 if {
	input.resource.type == "series"
} else := 1

allow if {
	input.action.name == "document.publish"
	input.approval.id
	not input.resource.properties.frozen
}
`;

const DELEGATION = `package delegation

challenge := {"type": "approval", "valid_for": 300} if {
	"docs.suggest" in input.action.properties.scopes
	not input.approval
}
`;

export const APPROVAL = `package approval

default allow := false

allow if "compliance" in input.approver.groups

allow if input.approver.class in {"operator", "agent", "service"}
`;

export type Manifest = Parameters<NonNullable<Options['acme']>>[0];

/** Owners, approvers, and a second tenant that approves alike. */
export const approving = (options: Options = {}): Options => ({
  ...options,
  acme: (manifest) => {
    manifest.actions['document.publish'] = { scope: 'docs.read', use: 'read' };
    manifest.principals.push(
      { class: 'user', id: 'dan', groups: ['compliance'] },
      { class: 'user', id: 'olga', groups: ['compliance', 'owners'] },
      {
        class: 'service',
        id: 'console',
        may: ['approval.read', 'approval.write'],
        credentials: [{ secret_sha256: sha256(consoleSecret) }],
      },
    );
    const research = manifest.principals.find(({ id }) => id === 'research-agent');
    if (research) research.owners = ['user:dan', 'group:owners'];
    for (const each of manifest.principals)
      if (each.id === 'docs-mcp' || each.id === 'docs-api')
        each.may = ['check', 'exchange', 'introspect', 'approval.write'];
    options.acme?.(manifest);
  },
  acmeFiles: {
    'authz/publishing.rego': AUTHZ,
    // Here agents publish, too.
    'authz/agents.rego': 'package authz\n',
    'delegation/approvals.rego': DELEGATION,
    'approval/approval.rego': APPROVAL,
    ...options.acmeFiles,
  },
  overrides: {
    operators: [
      {
        id: 'root',
        secret_sha256: sha256(secrets.operator),
        tenants: ['*'],
        may: ['check', 'exchange', 'approval.read', 'approval.write', 'tenant.write', 'kill', 'audit.read'],
      },
    ],
    ...options.overrides,
  },
});

export interface Evaluated {
  readonly decision: boolean;
  readonly context: Record<string, unknown> & {
    readonly outcome: string;
    readonly evaluation_id: string;
    readonly reasons: readonly { readonly code: string }[];
    readonly access_request?: {
      readonly endpoint: string;
      readonly expires_at: string;
      readonly template?: string;
    };
  };
}

export interface TaskJson {
  readonly task: { readonly id: string; readonly status: string; readonly status_endpoint: string };
  readonly result?: { readonly mode: string; readonly approval: Record<string, string> };
  readonly type?: string;
  readonly code?: string;
  readonly error?: string;
}

export type Asked = Record<string, unknown>;

/** bob would have plan published. */
export const publishing: Asked = {
  subject: { type: 'user', id: 'bob' },
  action: { name: 'document.publish' },
  resource: { type: 'document', id: 'plan', properties: { pages: 7, tags: ['a', 'b'] } },
};

export class Approving implements AsyncDisposable {
  readonly stage: Stage;

  private constructor(stage: Stage) {
    this.stage = stage;
  }

  /** `answer`: see `startIssuer`. */
  static async open(options: Options = {}, answer?: Parameters<typeof Stage.open>[1]): Promise<Approving> {
    return new Approving(await Stage.open(approving(options), answer));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stage[Symbol.asyncDispose]();
  }

  #at(tenant: string): string {
    return `${this.stage.server.data}/t/${tenant}/access/v1`;
  }

  /** As docs-api, unless somebody else does. `token`: passed on by the caller. */
  evaluate(asked: Asked, by: By = {}): Promise<Answer<Evaluated>> {
    return this.#post<Evaluated>(`${this.#at(by.tenant ?? 'acme')}/evaluation`, asked, by);
  }

  /** With an approval, as the profile has it. */
  again(asked: Asked, id: string, by: By = {}): Promise<Answer<Evaluated>> {
    const context = { ...(asked['context'] as object | undefined), approval: { id } };
    return this.evaluate({ ...asked, context }, by);
  }

  async request(asked: Asked, by: By = {}): Promise<Answer<TaskJson>> {
    const { body } = await this.evaluate(asked, by);
    return this.submit(asked, body, by);
  }

  submit(asked: Asked, denied: Evaluated, by: By = {}): Promise<Answer<TaskJson>> {
    const denial = {
      evaluation_id: denied.context.evaluation_id,
      expires_at: denied.context.access_request?.expires_at,
    };
    return this.#post<TaskJson>(`${this.#at(by.tenant ?? 'acme')}/requests`, { ...asked, denial }, by);
  }

  /** The id of a request that was opened. */
  async opened(asked: Asked = publishing, by: By = {}): Promise<string> {
    const { status, body } = await this.request(asked, by);
    if (status !== 202) throw new Error(`no request: ${status} ${JSON.stringify(body)}`);
    return body.task.id;
  }

  async approved(asked: Asked = publishing, by: By = {}): Promise<string> {
    const id = await this.opened(asked, by);
    const { status, body } = await this.settle('Approve', id, { user: 'carol' });
    if (status !== 200) throw new Error(`not approved: ${JSON.stringify(body)}`);
    return id;
  }

  status(id: string, by: By = {}): Promise<Answer<TaskJson>> {
    const headers = { authorization: bearer(by.secret ?? secrets.api) };
    return request<TaskJson>(`${this.#at(by.tenant ?? 'acme')}/requests/${id}`, { headers });
  }

  cancel(id: string, by: By = {}): Promise<Answer<TaskJson>> {
    return this.#post<TaskJson>(`${this.#at(by.tenant ?? 'acme')}/requests/${id}/cancel`, {}, by);
  }

  /** By a user through the console, or by whoever has a secret. */
  async settle(
    ruling: 'Approve' | 'Reject',
    id: string,
    by: { user?: string; secret?: string; note?: string; claims?: object; tenant?: string },
  ): Promise<Answer<{ approval?: Record<string, unknown>; code?: string; message?: string }>> {
    const sub = by.user;
    const approverToken =
      sub === undefined ? '' : await this.stage.issuer.sign({ sub, client_id: 'console', ...by.claims });
    const asked = { tenant: by.tenant ?? 'acme', id, note: by.note ?? '', approverToken };
    const secret = by.secret ?? (sub === undefined ? secrets.operator : consoleSecret);
    return connect(this.stage.server.admin, `ApprovalService/${ruling}`, asked, bearer(secret));
  }

  /** Over Connect, with the field. */
  async check(asked: Asked, approval: string, secret = secrets.api) {
    const message = { tenant: 'acme', ...asked, approval };
    return (await check(this.stage.server.data, message, bearer(secret))).body;
  }

  /** The events of an approval, as the log has them, oldest first. */
  async events(id: string): Promise<{ action: string; outcome: string; detail: Record<string, unknown> }[]> {
    const records = await this.stage.records({ kind: 'approval', pageSize: 50 });
    return records
      .filter(({ resourceId }) => resourceId === id)
      .map(({ action, outcome, body }) => ({
        action: String(action),
        outcome: String(outcome),
        detail: (
          JSON.parse(Buffer.from(String(body), 'base64').toString()) as { detail: Record<string, unknown> }
        ).detail,
      }))
      .toReversed();
  }

  async #post<T>(url: string, body: Asked, { secret = secrets.api, token }: By): Promise<Answer<T>> {
    if (token === undefined) return postJson<T>(url, body, bearer(secret)).then(withProblem);
    const headers = {
      'content-type': 'application/json',
      authorization: bearer(secret),
      'mandate-subject-token': token,
    };
    return request<T>(url, { method: 'POST', headers, body: JSON.stringify(body) }).then(withProblem);
  }
}

/** Who asks, in which tenant, and with which token. */
export interface By {
  readonly secret?: string;
  readonly tenant?: string;
  readonly token?: string;
}

/** RFC 9457. */
function withProblem<T>(answer: Answer<T>): Answer<T> {
  const { text } = answer.body as { text?: string };
  if (answer.headers.get('content-type') !== 'application/problem+json' || text === undefined) return answer;
  return { ...answer, body: JSON.parse(text) as T };
}

/** What is decided, and why not. */
export const said = ({ body }: Answer<Evaluated>): [boolean, string | undefined] => [
  body.decision,
  body.context?.reasons.find(({ code }) => code.startsWith('approval_'))?.code,
];

/** What nobody who presents somebody else's approval can tell from one that is not there. */
export const UNKNOWN = [false, 'approval_unverifiable'];
export const OVER = [false, 'approval_expired'];
export const OTHER = [false, 'approval_out_of_scope'];
export const ALLOWED = [true, undefined];

let serial = 0;
/** A question of its own each time, so that no test has another's approval. */
export const asking = (more: Asked = {}): Asked => {
  serial += 1;
  const resource = { type: 'document', id: `plan-${serial}`, properties: { pages: 7 } };
  return { ...publishing, resource, ...more };
};
