import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Adversary } from './adversaries.ts';

/** Certificates, schemas, templates, queries and keys that take as long as they can for what they are charged. */

const range = <T>(length: number, make: (index: number) => T): T[] =>
  Array.from({ length }, (_, n) => make(n));
const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey;
const curve = generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey;
/** The authority at the beginning. */
const [certificate = ''] =
  /-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----\n/.exec(
    readFileSync(new URL('./differential/certificates.pem', import.meta.url), 'utf8'),
  ) ?? [];

const referring = (count: number, make: (next: string) => object): object => ({
  $ref: '#/definitions/d0',
  definitions: Object.fromEntries(
    range(count, (n) => [`d${n}`, n < count - 1 ? make(`#/definitions/d${n + 1}`) : {}]),
  ),
});

export const documents = {
  percents: `http://a/${'%2f'.repeat(10_000)}`,
  classA: `[${'ac'.repeat(5_000)}]`,
  classB: `[${'bd'.repeat(5_000)}]`,
  jwkRsa: rsa.export({ format: 'jwk' }),
  jwkCurve: curve.export({ format: 'jwk' }),
  headers: Object.fromEntries(range(2_000, (n) => [`h${n}`, 'v'])),
  /** Looked at 2^30 times if nothing counted. */
  doublingSchema: referring(30, ($ref) => ({ allOf: [{ $ref }, { $ref }] })),
  circularSchema: { $ref: '#' },
  enumSchema: { items: { enum: range(500, (n) => `y${n}`) } },
  enumDocument: range(500, (n) => `x${n}`),
  certificates: certificate.repeat(50),
  keys: (rsa.export({ type: 'pkcs8', format: 'pem' }) as string).repeat(30),
  doublingTemplate: `{{$x := "a"}}${'{{$x = printf "%s%s" $x $x}}'.repeat(24)}{{len $x}}`,
  nestedTemplate: '{{range .a}}{{range $.a}}{{range $.a}}x{{end}}{{end}}{{end}}',
  nestedMembers: { a: range(100, (n) => n) },
  repeatedFields: `{${'a '.repeat(1_500)}}`,
  fields: `{${'a '.repeat(5_000)}}`,
  fragments: `{ ...F0 } ${range(
    300,
    (n) =>
      `fragment F${n} on Query { ${range(60, (m) => `a${m}: a`).join(' ')}${n < 299 ? ` ...F${n + 1}` : ''} }`,
  ).join(' ')}`,
  interfaces: `${range(
    60,
    (n) => `interface I${n} ${n > 0 ? `implements ${range(n, (m) => `I${m}`).join(' & ')}` : ''} { a: Int }`,
  ).join(' ')} type Query { a: Int }`,
};

const query = '"type Query { a: Int }"';

export const documentAdversaries: readonly Adversary[] = (
  [
    ['uri.parse', 'uri.parse(input.percents)', 7_000_000],
    ['regex.globs_match', 'regex.globs_match(input.classA, input.classB)', 8_000_000],
    ['io.jwt.encode_sign', 'io.jwt.encode_sign({"alg": "RS256"}, {}, input.jwkRsa)', 2_500_000],
    ['io.jwt.encode_sign', 'io.jwt.encode_sign({"alg": "ES512"}, {}, input.jwkCurve)', 5_000_000],
    [
      'providers.aws.sign_req',
      'providers.aws.sign_req({"method": "get", "url": "http://x", "headers": input.headers}, {"aws_service": "s3", "aws_access_key": "a", "aws_secret_access_key": "b", "aws_region": "c"}, 1)',
      3_000_000,
    ],
    ['json.match_schema', 'json.match_schema("1", input.doublingSchema)', 50_000_000],
    ['json.match_schema', 'json.match_schema("null", input.circularSchema)', 2_000_000],
    ['json.match_schema', 'json.match_schema(input.enumDocument, input.enumSchema)', 10_000_000],
    ['crypto.x509', 'crypto.x509.parse_certificates(input.certificates)', 8_000_000],
    ['crypto.x509', 'crypto.x509.parse_and_verify_certificates(input.certificates)', 8_000_000],
    ['crypto.parse_private_keys', 'crypto.parse_private_keys(input.keys)', 7_000_000],
    [
      'strings.render_template',
      'strings.render_template(input.nestedTemplate, input.nestedMembers)',
      50_000_000,
    ],
    ['strings.render_template', 'strings.render_template(input.doublingTemplate, {})', 50_000_000],
    ['graphql.is_valid', `graphql.is_valid(input.repeatedFields, ${query})`, 50_000_000],
    ['graphql.is_valid', `graphql.is_valid(input.fragments, ${query})`, 50_000_000],
    ['graphql.parse_query', 'graphql.parse_query(input.fields)', 20_000_000],
    ['graphql.schema_is_valid', 'graphql.schema_is_valid(input.interfaces)', 50_000_000],
  ] as const
).map(([builtin, call, units]) => ({ builtin, call, units }));
