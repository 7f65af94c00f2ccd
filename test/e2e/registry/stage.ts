import type { Issuer } from '../issuer.ts';
import { type Answer, connect, exchangeFields, form, type TokenJson } from '../requests.ts';
import { bearer, type Running, secrets, sha256 } from '../server.ts';

/** An operator who registers principals with acme by the API. */

export const operator = bearer(secrets.operator);

export const SECRET = 'acme-registered-agent-test-secret-01';

/** An agent as `research-agent` of the manifest is one, that alice answers for. */
export const helper = (changes: object = {}) => ({
  class: 'agent',
  id: 'helper',
  owners: ['user:alice'],
  credentials: [{ secretSha256: sha256(SECRET) }],
  ceiling: { scopes: ['docs.read'], audiences: ['docs-mcp'] },
  clientIds: ['research-agent'],
  ...changes,
});

export interface Shown {
  principal: {
    status: string;
    managedBy: string;
    credentials?: { id: string; secretSha256?: string; expiresAt?: string; lastUsedAt?: string }[];
    ceiling?: object;
    owners?: string[];
    groups?: string[];
  };
}

export class Registrar {
  readonly server: Running;

  constructor(server: Running) {
    this.server = server;
  }

  call<T = Record<string, unknown>>(method: string, body: object, tenant = 'acme'): Promise<Answer<T>> {
    return connect<T>(this.server.admin, `TenantService/${method}`, { tenant, ...body }, operator);
  }

  put(...principals: object[]): Promise<Answer<{ written?: number; suspended?: string[] }>> {
    return this.call('PutPrincipals', { principals });
  }

  async show(cls: string, id: string): Promise<Shown['principal']> {
    const { body } = await this.call<Shown>('GetPrincipal', { class: cls, id });
    return body.principal;
  }

  status(cls: string, id: string, status: 'ACTIVE' | 'DISABLED'): Promise<Answer> {
    return this.call('SetPrincipalStatus', { class: cls, id, status: `PRINCIPAL_STATUS_${status}` });
  }

  /** An exchange of a token that the issuer gave to research-agent for alice. */
  async exchange(issuer: Issuer, secret: string, id = 'helper'): Promise<Answer<TokenJson>> {
    return await form(this.server.data, 'token', exchangeFields(await issuer.sign()), { id, secret });
  }

  /** What the log says of changes, the newest first. */
  async changes(filter: object): Promise<{ action: string; detail: Record<string, unknown> }[]> {
    const { body } = await connect<{ records?: { action: string; body: string }[] }>(
      this.server.admin,
      'AuditService/Query',
      { tenant: 'acme', kind: 'administration', pageSize: 20, ...filter },
      operator,
    );
    return (body.records ?? []).map(({ action, body: record }) => ({
      action,
      detail: (JSON.parse(Buffer.from(record, 'base64').toString()) as { detail: Record<string, unknown> })
        .detail,
    }));
  }
}

export const codeOf = ({ status, headers }: Answer<object>) => ({
  status,
  code: headers.get('mandate-error-code'),
});
