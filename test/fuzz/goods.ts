import { create, toBinary } from '@bufbuild/protobuf';
import {
  CheckBatchRequestSchema,
  CheckRequestSchema,
  CheckStreamRequestSchema,
} from '../../src/gen/mandate/v1/decision_pb.ts';
import { asks } from '../containment/tenants.ts';

const request = create(CheckRequestSchema, {
  tenant: 'calm',
  principal: { case: 'subject', value: { type: 'user', id: 'u' } },
  action: { name: 'read' },
  resource: { type: 'thing', id: 't', properties: { tags: ['a', 'b'], size: 1.5 } },
});
const grpc = '/mandate.v1.DecisionService';
const frames = (...messages: Uint8Array[]): Buffer =>
  Buffer.concat(
    messages.map((message) => {
      const head = Buffer.alloc(5);
      head.writeUInt32BE(message.length, 1);
      return Buffer.concat([head, message]);
    }),
  );
const stream = toBinary(
  CheckStreamRequestSchema,
  create(CheckStreamRequestSchema, { correlationId: 1n, request }),
);
const json = JSON.stringify(asks('calm'));
const { tenant: _tenant, ...authzen } = asks('calm');

/** Path, content type, body, and whether the answer has no end of its own. */
export type Good = readonly [string, string, Buffer, 'endless'?];

const text = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

/** Good requests of the data plane, one an endpoint; each is broken in some way before it is sent. */
export const data: readonly Good[] = [
  [`${grpc}/Check`, 'application/grpc', frames(toBinary(CheckRequestSchema, request))],
  [`${grpc}/Check`, 'application/grpc-web+proto', frames(toBinary(CheckRequestSchema, request))],
  [`${grpc}/Check`, 'application/json', Buffer.from(json)],
  [`${grpc}/Check`, 'application/proto', Buffer.from(toBinary(CheckRequestSchema, request))],
  [
    `${grpc}/CheckBatch`,
    'application/grpc',
    frames(
      toBinary(CheckBatchRequestSchema, create(CheckBatchRequestSchema, { tenant: 'calm', items: [{}, {}] })),
    ),
  ],
  [`${grpc}/CheckStream`, 'application/grpc', frames(stream, stream, stream)],
  [
    '/mandate.v1.DelegationService/Exchange',
    'application/json',
    Buffer.from('{"tenant":"calm","subjectToken":"a.b.c","scopes":["x"]}'),
  ],
  [
    '/envoy.service.auth.v3.Authorization/Check',
    'application/json',
    Buffer.from('{"attributes":{"request":{"http":{"method":"GET","path":"/"}}}}'),
  ],
  [
    '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    'application/grpc',
    frames(Buffer.from([0x3a, 0x00])),
  ],
  ['/t/calm/access/v1/evaluation', 'application/json', Buffer.from(JSON.stringify(authzen))],
  [
    '/t/calm/access/v1/evaluations',
    'application/json',
    Buffer.from(JSON.stringify({ ...authzen, evaluations: [{}, {}] })),
  ],
  ['/t/calm/access/v1/search/action', 'application/json', Buffer.from(JSON.stringify(authzen))],
  [
    '/t/calm/access/v1/requests',
    'application/json',
    text({
      ...authzen,
      context: { business_justification: 'read' },
      denial: {
        evaluation_id: '01a2160c-2c8f-7dd1-87b2-699dc4ec77ec',
        expires_at: '2026-11-26T04:20:26.319Z',
      },
    }),
  ],
  ['/t/calm/access/v1/requests/read/cancel', 'application/json', text({ reason: 'read' })],
  [
    '/t/calm/oauth2/token',
    'application/x-www-form-urlencoded',
    Buffer.from('grant_type=x&subject_token=a.b.c&scope=%zz'),
  ],
  ['/t/calm/oauth2/introspect', 'application/x-www-form-urlencoded', Buffer.from('token=a.b.c')],
  ['/t/calm/v1/data/authz/allow', 'application/json', Buffer.from('{"input":{"a":1}}')],
  [
    '/mandate.v1.DelegationService/Introspect',
    'application/grpc+json',
    frames(text({ tenant: 'calm', token: 'a.b.c' })),
  ],
  ['/mandate.v1.DelegationService/Revoke', 'application/json', text({ tenant: 'calm', grantId: 'x' })],
  [
    '/envoy.service.auth.v3.Authorization/Check',
    'application/grpc+json',
    frames(
      text({
        attributes: {
          contextExtensions: { tenant: 'calm' },
          request: { http: { method: 'GET', path: '/a?b', headers: { authorization: 'Bearer a.b.c' } } },
        },
      }),
    ),
  ],
  [
    '/t/calm/access/v1/search/subject',
    'application/json',
    text({ ...authzen, subject: { type: 'user' }, page: { limit: 2 } }),
  ],
  [
    '/t/calm/access/v1/search/resource',
    'application/json',
    text({
      ...authzen,
      resource: { type: 'thing' },
      context: { candidates: [{ type: 'thing', id: 'read' }] },
      page: { token: 'x' },
    }),
  ],
  ['/t/calm/oauth2/revoke', 'application/x-www-form-urlencoded', Buffer.from('token=a.b.c')],
  ['/grpc.health.v1.Health/Check', 'application/grpc', frames(Buffer.alloc(0))],
  ['/grpc.health.v1.Health/Watch', 'application/grpc', frames(Buffer.alloc(0)), 'endless'],
];

/** Those of the admin plane. */
export const admin: readonly Good[] = [
  ['/mandate.v1.TenantService/ListTenants', 'application/json', text({})],
  [
    '/mandate.v1.TenantService/PutPrincipals',
    'application/json',
    text({ tenant: 'calm', principals: [{ class: 'user', id: 'read', properties: { size: 1.5 } }] }),
  ],
  [
    '/mandate.v1.TenantService/SetPrincipalStatus',
    'application/grpc+json',
    frames(text({ tenant: 'calm', class: 'user', id: 'read', status: 'PRINCIPAL_STATUS_DISABLED' })),
  ],
  [
    '/mandate.v1.ApprovalService/ListApprovals',
    'application/grpc+json',
    frames(text({ tenant: 'calm', pageSize: 3, pageToken: 'read' })),
  ],
  [
    '/mandate.v1.ApprovalService/Approve',
    'application/json',
    text({ tenant: 'calm', id: 'read', note: 'read', approverToken: 'a.b.c' }),
  ],
  ['/mandate.v1.PolicyService/ReloadPolicy', 'application/json', text({ tenant: 'calm' })],
  [
    '/mandate.v1.AuditService/Query',
    'application/grpc+json',
    frames(text({ tenant: 'calm', pageSize: 3, pageToken: 'read', outcome: 'allow' })),
  ],
  ['/mandate.v1.AuditService/Tail', 'application/grpc+json', frames(text({ tenant: 'calm' })), 'endless'],
  ['/metrics', 'application/json', Buffer.alloc(0)],
  ['/readyz?verbose', 'application/json', Buffer.alloc(0)],
];
