import { rm } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { aliceReads, check, claimsOf, connect, exchangeFields, form, postJson } from '../e2e/requests.ts';
import { sha256 } from '../e2e/server.ts';
import { livingGrants, logIn } from './log.ts';
import { type ServeProcess, serveProcess } from './process.ts';

/** A kill switch that was answered has been pressed, whatever becomes of the server in the next moment. */

const agent = { id: 'research-agent', secret: 'acme-research-agent-demo-secret-0001' };

/** As `principal show` names a secret. */
const digestOf = (secret: string): string => sha256(secret).slice(0, 16);

async function granted(server: ServeProcess): Promise<string> {
  const url = `${server.data}/t/acme/dev/token?user=alice&client=research-agent`;
  const { body } = await postJson<{ access_token: string }>(url, '');
  return (await form(server.data, 'token', exchangeFields(body.access_token), agent)).body.access_token;
}

test.each([
  ['token', (token: string) => ({ token })],
  ['grant', (token: string) => ({ grantId: String(claimsOf(token)['jti']) })],
  ['agent', () => ({ agent: 'research-agent' })],
  ['subject', () => ({ subject: { class: 'user', id: 'alice' } })],
  [
    'credential',
    () => ({ credential: { class: 'agent', id: 'research-agent', credentialId: digestOf(agent.secret) } }),
  ],
  ['issuer', (_: string, server: ServeProcess) => ({ issuer: `${server.data}/dev` })],
  ['tenant', () => ({ wholeTenant: true })],
])('kill %s, and SIGKILL straight after the answer', async (what, targetOf) => {
  const server = await serveProcess();
  try {
    const token = await granted(server);
    expect(livingGrants(server.store)).toEqual([claimsOf(token)['jti']]);
    const target = { tenant: 'acme', ...targetOf(token, server) };
    const { status, body } = await connect(server.admin, 'KillService/Kill', target);
    await server.end('SIGKILL');
    expect({ status, body }).toEqual({ status: 200, body: { ended: 1 } });
    expect(livingGrants(server.store)).toEqual([]);
    const records = logIn(server.store).filter(({ kind }) => kind === 'revocation');
    expect(records).toMatchObject([{ action: `kill.${what}`, outcome: 'done' }]);
    await using again = await serveProcess({ folder: server.folder });
    if (what === 'credential')
      expect((await form(again.data, 'introspect', { token }, agent)).status).toBe(401);
    const { body: decision } = await check(again.data, aliceReads);
    const codes = { subject: 'principal_disabled', tenant: 'tenant_killed' } as Record<string, string>;
    expect(decision.reasons?.[0]?.code).toBe(codes[what]);
  } finally {
    await rm(server.folder, { recursive: true, force: true });
  }
});
