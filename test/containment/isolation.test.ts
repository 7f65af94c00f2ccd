import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createLogger, logChannels } from '../../src/telemetry/logs.ts';
import { check, connect } from '../e2e/requests.ts';
import { asks, serve, type TenantFiles } from './tenants.ts';

/** Everything of a tenant carries its marker; a marker found in another tenant's answers, records or errors has leaked. */
const marker = (tenant: string): string => `secret-of-${tenant}-5b1d`;

const IDS = ['red', 'green', 'blue'] as const;

/** What tenants' policies do, besides giving away their own marker. */
const bodies = [
  'allow := true',
  'default allow := false',
  'allow if data.vault == "none"',
  'allow := x if { x := true; input.context.deep[_] == 1 }',
  'allow if { some i in numbers.range(1, 300000); i == -1 }',
  'allow := true\nallow := false if input.context.n > 3',
  'deny contains sprintf("%v", [input.context]) if true\nallow := true',
] as const;

const policy = (id: string, body: string): string =>
  `package authz\n\nreasons contains {"code": "${marker(id)}", "message": data.vault}\n\nobligations contains {"mine": data.vault, "context": input.context}\n\n${body}\n`;

const step = fc.record({
  tenant: fc.constantFrom(...IDS),
  n: fc.integer({ min: 0, max: 6 }),
  action: fc.constantFrom('read', '', 'write'),
  size: fc.integer({ min: 0, max: 2_000 }),
});

test('no byte of one tenant appears in what another one gets, is recorded, or is told of', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom(...bodies), { minLength: 3, maxLength: 3 }),
      fc.array(step, { minLength: 10, maxLength: 40 }),
      async (policies, steps) => {
        const tenants = IDS.map(
          (id, at): TenantFiles => ({
            id,
            rego: policy(id, policies[at] ?? ''),
            data: { vault: marker(id) },
            manifest: { limits: { fuel: 1_000_000 } },
          }),
        );
        const lines: string[] = [];
        using _logs = logChannels(createLogger('debug', { write: (line: string) => void lines.push(line) }));
        await using served = await serve(tenants);
        await Promise.all(
          steps.map(async ({ tenant, n, action, size }) => {
            const context = { n, own: marker(tenant), pad: 'x'.repeat(size), deep: [1, n] };
            const { body } = await check(served.data, asks(tenant, action, context));
            onlyOwn(tenant, JSON.stringify(body));
          }),
        );
        for (const id of IDS) {
          const { body } = await connect<{ records?: { body: string }[] }>(
            served.admin,
            'AuditService/Query',
            {
              tenant: id,
              pageSize: 1_000,
            },
          );
          for (const record of body.records ?? []) onlyOwn(id, Buffer.from(record.body, 'base64').toString());
        }
        // The operator's log names tenants, never what is theirs.
        for (const id of IDS) expect(lines.join('\n')).not.toContain(marker(id));
      },
    ),
    { numRuns: 6 },
  );
});

function onlyOwn(tenant: string, text: string): void {
  for (const other of IDS) if (other !== tenant) expect(text).not.toContain(marker(other));
}
