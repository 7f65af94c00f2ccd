import { afterAll, beforeAll, expect, test } from 'vitest';
import { check, connect } from '../e2e/requests.ts';
import { type Served, serve } from './tenants.ts';

/** What fails in a built-in is undefined, as in OPA; it ended the evaluation and was held against the policy. */
const REGO = `package authz

default allow := false

allow if {
	input.resource.id == "good"
	readable(input.context.text)
}

readable(text) if to_number(text) > 0

readable(text) if json.unmarshal(text).a == 1

readable(text) if base64.is_valid(text)

readable(text) if replace(text, "", "-") == "x"

readable(text) if format_int(to_number(text), 10) == "4294967295"

readable(text) if uuid.parse(text).version == 4

readable(text) if regex.match(text, "a")

readable(text) if glob.match(text, ["/"], "a")

readable(text) if time.parse_rfc3339_ns(text) > 0

readable(text) if yaml.unmarshal(text).a == 1

readable(text) if net.cidr_contains(text, text)

readable(text) if urlquery.decode(text) == "a"

readable(text) if json.remove({"a": 1}, [text]) == {}
`;

const texts = [
  '-',
  '3garbage',
  'UTC',
  '',
  '(',
  '[',
  '{',
  '%zz',
  '0x10',
  '4294967296e99999',
  '1e999999999',
  '\ufffd\u0000',
  '(00000000-0000-4000-8000-000000000000)',
  '['.repeat(900),
  'a: *b',
  '::/999',
];

let served: Served;
beforeAll(async () => {
  served = await serve([{ id: 'calm', rego: REGO }]);
});
afterAll(() => served[Symbol.asyncDispose]());

test('nothing that a caller sends makes the policy one that fails', async () => {
  for (let round = 0; round < 3; round += 1)
    for (const text of texts) {
      const { status, body } = await check(served.data, {
        tenant: 'calm',
        subject: { type: 'user', id: 'u' },
        action: { name: 'read' },
        resource: { type: 'document', id: 'good' },
        context: { text },
      });
      const codes = (body.reasons ?? []).map(({ code }) => code).filter((code) => code !== 'not_allowed');
      expect([text, status, codes]).toEqual([text, 200, []]);
    }
  const { body } = await connect<{ tenants: { id: string; degraded?: string }[] }>(
    served.admin,
    'TenantService/ListTenants',
    {},
  );
  expect(body.tenants.find(({ id }) => id === 'calm')?.degraded).toBeUndefined();
});
