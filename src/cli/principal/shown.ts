import { toJson } from '@bufbuild/protobuf';
import { timestampDate } from '@bufbuild/protobuf/wkt';
import {
  type Credential,
  type Principal,
  PrincipalSchema,
  PrincipalStatus,
} from '../../gen/mandate/v1/tenant_pb.ts';

const statuses: Readonly<Record<number, string>> = {
  [PrincipalStatus.ACTIVE]: 'active',
  [PrincipalStatus.DISABLED]: 'disabled',
  [PrincipalStatus.SUSPENDED]: 'suspended',
  [PrincipalStatus.RETIRED]: 'retired',
};

export const statusOf = ({ status }: Principal): string => statuses[status] ?? 'unknown';

/** As a tenant.yaml has it, so that `principal put` takes it again. */
export function documentOf(principal: Principal): object {
  const {
    status: _,
    may,
    ...rest
  } = toJson(PrincipalSchema, principal, { useProtoFieldName: true }) as {
    status?: string;
    may?: { names?: string[] };
  };
  return { ...rest, status: statusOf(principal), ...(may && { may: may.names ?? [] }) };
}

export function fieldsOf(principal: Principal): [string, string][] {
  const { ceiling, credentials, may } = principal;
  const list = (each: readonly string[]): string => each.join(', ');
  return [
    ['principal', `${principal.class}:${principal.id}`],
    ['status', statusOf(principal)],
    ['managed by', principal.managedBy],
    ['owners', list(principal.owners)],
    ['roles', list(principal.roles)],
    ['groups', list(principal.groups)],
    ['scopes', list(principal.scopes)],
    [
      'properties',
      Object.keys(principal.properties ?? {}).length > 0 ? JSON.stringify(principal.properties) : '',
    ],
    ['may', may ? list(may.names) || 'nothing' : ''],
    ...(ceiling
      ? ([
          ['ceiling', list(ceiling.scopes) || 'no scope'],
          ['  audiences', list(ceiling.audiences)],
          ['  lifetime', `${ceiling.maxLifetimeSeconds} s, ${ceiling.maxDepth} deep`],
          ['  use', ceiling.use],
          ...ceiling.authorizationDetails.map((each): [string, string] => [
            '  details',
            JSON.stringify(each),
          ]),
        ] satisfies [string, string][])
      : []),
    ['client ids', list(principal.clientIds)],
    ['resources', list(principal.resources)],
    ...credentials.map((each): [string, string] => ['credential', credentialLine(each)]),
  ];
}

function credentialLine({ id, kind, expiresAt, lastUsedAt, killedAt }: Credential): string {
  const form = {
    secretSha256: 'a secret',
    secretScrypt: 'a chosen secret',
    spiffeId: kind.case === 'spiffeId' ? kind.value : '',
    certificateDns: kind.case === 'certificateDns' ? `the certificate of ${kind.value}` : '',
    certificateSubject: kind.case === 'certificateSubject' ? `the certificate of ${kind.value}` : '',
    jwks: 'public keys',
    jwksUri: kind.case === 'jwksUri' ? `the keys at ${kind.value}` : '',
    workload: kind.case === 'workload' ? `a workload of ${kind.value.issuer}` : '',
  }[kind.case ?? 'secretSha256'];
  const until = expiresAt ? `until ${timestampDate(expiresAt).toISOString()}` : '';
  const used = lastUsedAt ? `last used ${timestampDate(lastUsedAt).toISOString()}` : 'not used yet';
  const killed = killedAt ? `killed ${timestampDate(killedAt).toISOString()}` : '';
  return [`${id}: ${form}`, killed, until, used].filter((part) => part !== '').join(', ');
}
