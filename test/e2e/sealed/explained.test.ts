import { afterAll, beforeAll, expect, test } from 'vitest';
import { check, connect } from '../requests.ts';
import { bearer, type Running, secrets } from '../server.ts';
import { asked, erase, operator, PATIENT, sealing } from './sealed.ts';

/** Why something was decided that looked at what the record keeps sealed. */

const REGO = `package authz

allow if {
	input.context.place == "ward-7"
	input.context.patient.name == "somebody else"
}

deny contains "of_the_ward" if input.context.patient.name == "${PATIENT.name}"
`;

let server: Running;
beforeAll(async () => {
  server = await sealing({ acmeFiles: { 'ward.rego': REGO } });
});
afterAll(() => server[Symbol.asyncDispose]());

const explain = async (decisionId: string) => {
  const asking = { tenant: 'acme', decisionId };
  const { status, body } = await connect(server.admin, 'AuditService/Explain', asking, operator);
  expect({ status, body }).toMatchObject({ status: 200 });
  return body;
};

test('a sealed member is opened while its key lives; of somebody erased it is named, and shown to nobody', async () => {
  const { body } = await check(server.data, asked('patient:ann'), bearer(secrets.api));
  expect(body.reasons).toMatchObject([{ code: 'of_the_ward' }]);
  const before = await explain(body.decisionId);
  expect(before).toMatchObject({ recorded: 'same', outcome: 'deny', explanation: { agreement: 'same' } });
  expect(before['missing'] ?? []).toEqual([]);
  // Several members may be about one; all of them go.
  expect((await erase(server, 'patient:ann')).status).toBe(200);
  const after = await explain(body.decisionId);
  expect(after).toMatchObject({ recorded: 'unknown', missing: ['/input/context/patient'] });
  // The author's own Rego says the name; what was sealed does not.
  for (const secret of [PATIENT.name, String(PATIENT.diagnosis[0])])
    expect(JSON.stringify(after).replaceAll(`== \\"${PATIENT.name}\\"`, '')).not.toContain(secret);
  expect(JSON.stringify(after)).not.toContain('"erased"');
});
