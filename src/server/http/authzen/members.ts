import type { JsonObject, UncheckedRequest } from '../../../decision/request.ts';
import { ServiceError } from '../../../errors.ts';
import type { Tenant } from '../../../tenancy/tenants.ts';

/** The members of what AuthZEN's endpoints are asked. */

/** The header in which an enforcement point passes on the token its own caller presented. */
export const SUBJECT_TOKEN_HEADER = 'mandate-subject-token';

/** Where approval is asked for. */
export const requestsAt = (base: string): string => `${base}/access/v1/requests`;

/** How each member of the information model is read; unknown ones are ignored, as the specification says. */
export const readers = {
  subject: (tenant: Tenant, body: JsonObject) => {
    const subject = part(body, 'subject');
    return (
      subject && {
        type: classCalled(tenant, text(subject['type'])),
        id: text(subject['id']),
        properties: part(subject, 'properties'),
      }
    );
  },
  action: (_tenant: Tenant, body: JsonObject) => {
    const action = part(body, 'action');
    return action && { name: text(action['name']), properties: part(action, 'properties') };
  },
  resource: (_tenant: Tenant, body: JsonObject) => {
    const resource = part(body, 'resource');
    return (
      resource && {
        type: text(resource['type']),
        id: text(resource['id']),
        properties: part(resource, 'properties'),
      }
    );
  },
  context: (_tenant: Tenant, body: JsonObject) => part(body, 'context'),
} as const satisfies { readonly [name in keyof UncheckedRequest]: unknown };

export const members = ['subject', 'action', 'resource', 'context'] as const;

/** The class of principals that callers of this tenant call so. */
const classCalled = ({ manifest: { subject_types: types } }: Tenant, type: string): string =>
  Object.hasOwn(types, type) ? (types[type] ?? type) : type;

/** Throws `invalid_request` for a member that is not of its form. */
export const requestOf = (tenant: Tenant, body: JsonObject): UncheckedRequest => ({
  subject: readers.subject(tenant, body),
  action: readers.action(tenant, body),
  resource: readers.resource(tenant, body),
  context: readers.context(tenant, body),
});

export function part(body: JsonObject, member: string): Record<string, unknown> | undefined {
  const value = body[member];
  // A member that may be left out may be null as well.
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new ServiceError('invalid_request', `${member} is not an object`);
  return value as Record<string, unknown>;
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Throws `invalid_request`: what would be left out in silence may have been meant. */
export function onlyMembers(what: string, body: JsonObject, known: readonly string[]): void {
  const unknown = Object.keys(body).find((name) => !known.includes(name));
  if (unknown !== undefined)
    throw new ServiceError(
      'invalid_request',
      `${what} has a member that is not taken: ${unknown.slice(0, 64)}`,
    );
}

/** The approval that an evaluation is asked again with (section 8), taken out of its context. Throws `invalid_request`. */
export function approvalIn(context: JsonObject | undefined): {
  approval: string | undefined;
  context: JsonObject | undefined;
} {
  if (!context || !Object.hasOwn(context, 'approval')) return { approval: undefined, context };
  const { approval: presented, ...rest } = context;
  const approval = part({ approval: presented }, 'approval');
  if (!approval) throw new ServiceError('invalid_request', 'context.approval is an object');
  onlyMembers('context.approval', approval, ['id', 'approved_at', 'approved_until']);
  const { id } = approval;
  if (typeof id !== 'string' || id === '')
    throw new ServiceError('invalid_request', 'context.approval has the id of the approval');
  return { approval: id, context: rest };
}
