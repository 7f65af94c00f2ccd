import { ServiceError } from '../errors.ts';

/** Claims that say something only where another says that the issuer has verified it (OpenID Connect Core section 5.1). */
const verifiedBy: Readonly<Record<string, string>> = {
  email: 'email_verified',
  phone_number: 'phone_number_verified',
};

/** Claims that name nobody for good: users, or their next holder, may choose them (OpenID Connect Core section 5.7). */
const changeable: ReadonlySet<string> = new Set([
  'preferred_username',
  'upn',
  'unique_name',
  'username',
  'cognito:username',
  'nickname',
  'login',
  'mail',
  'name',
  'given_name',
  'family_name',
  'middle_name',
  'profile',
  'website',
]);

export interface SubjectRule {
  /** The claim that holds the principal's id. */
  readonly subject_claim: string;
  /** The tenant vouches for it: at this issuer users can neither choose nor change it. */
  readonly subject_claim_trusted: boolean;
}

/** Whether a tenant may name principals by the claim without vouching for it. */
export const needsTrust = (claim: string): boolean => changeable.has(claim);

/** The principal's id. Throws `token_invalid`. */
export function subjectOf(rule: SubjectRule, claims: Readonly<Record<string, unknown>>): string {
  const id = claims[rule.subject_claim];
  if (typeof id !== 'string' || id === '' || id.length > 256)
    throw new ServiceError('token_invalid', 'the token names no subject');
  const witness = Object.hasOwn(verifiedBy, rule.subject_claim) ? verifiedBy[rule.subject_claim] : undefined;
  if (witness === undefined || claims[witness] === true) return id;
  if (claims[witness] === undefined && rule.subject_claim_trusted) return id;
  throw new ServiceError(
    'token_invalid',
    `the issuer has not verified the ${rule.subject_claim} of the token`,
  );
}
