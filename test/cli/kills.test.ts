import { afterAll, beforeAll, expect, test } from 'vitest';
import { Stage } from '../delegation/stage.ts';
import { claimsOf } from '../e2e/requests.ts';
import { secrets } from '../e2e/server.ts';
import { at } from './run.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await Stage.open();
});
afterAll(() => stage[Symbol.asyncDispose]());

const cli = (...args: string[]) => at(stage.server, secrets.operator)(...args);
const reasons = async (): Promise<unknown[]> =>
  (await stage.records({ kind: 'revocation' })).map(({ body }) => {
    const { detail } = JSON.parse(Buffer.from(String(body), 'base64').toString()) as { detail: object };
    return detail;
  });

test('mandate kill says how many grants ended, and keeps why', async () => {
  const [first, second] = [await stage.granted(), await stage.granted()];
  const ended = { code: 0, stdout: 'killed; 1 living grant ended\n' };
  expect(await cli('kill', 'token', '-t', 'acme', '--reason', 'INC-7', first)).toMatchObject(ended);
  expect(await cli('kill', 'grant', '-t', 'acme', String(claimsOf(second)['jti']))).toMatchObject(ended);
  const { stdout } = await cli('--json', 'kill', 'agent', '-t', 'acme', 'research-agent');
  expect(JSON.parse(stdout)).toEqual({ ended: 0 });
  expect(await cli('kill', 'subject', '-t', 'acme', 'user:alice')).toMatchObject({ code: 0 });
  expect(await reasons()).toEqual([{ reason: '' }, { reason: '' }, { reason: '' }, { reason: 'INC-7' }]);
});

test('what is killed until it is restored is listed', async () => {
  const empty = { code: 0, stdout: 'KILLED  NAME  SINCE\n' };
  expect(await cli('kill', 'list', '-t', 'acme')).toMatchObject(empty);
  expect(await cli('kill', 'issuer', '-t', 'acme', stage.issuer.url)).toMatchObject({ code: 0 });
  expect(await cli('kill', 'tenant', '-t', 'acme')).toMatchObject({ code: 0 });
  const { stdout } = await cli('--json', 'kill', 'list', '-t', 'acme');
  expect(JSON.parse(stdout)).toMatchObject([
    { what: 'issuer', name: stage.issuer.url },
    { what: 'tenant', name: 'acme' },
  ]);
  expect((await cli('tenant', 'list')).stdout).toMatch(/^acme .* killed$/m);
  expect(await cli('restore', 'issuer', '-t', 'acme', stage.issuer.url)).toMatchObject({
    stdout: 'restored\n',
  });
  expect(await cli('restore', 'tenant', '-t', 'acme')).toMatchObject({ stdout: 'restored\n' });
  expect(await cli('kill', 'list', '-t', 'acme')).toMatchObject(empty);
});

test('a credential of tenant.yaml is killed, shown so, listed and restored', async () => {
  const show = async () => (await cli('principal', 'show', '-t', 'acme', 'service:docs-api')).stdout;
  const [, id = ''] = /credential +(\S+): a secret/.exec(await show()) ?? [];
  const of = ['-t', 'acme', 'service:docs-api', id];
  expect(await cli('kill', 'credential', '--reason', 'INC-9', ...of)).toMatchObject({
    code: 0,
    stdout: 'killed; 0 living grants ended\n',
  });
  expect(await show()).toMatch(new RegExp(`credential +${id}: a secret, killed 20`));
  expect((await cli('kill', 'list', '-t', 'acme')).stdout).toMatch(
    new RegExp(`^credential +service:docs-api ${id} +20`, 'm'),
  );
  const removed = await cli('principal', 'remove-credential', ...of);
  expect(removed.stderr).toContain('here it can be disabled, and a credential of it killed');
  expect(await cli('restore', 'credential', ...of)).toMatchObject({ code: 0, stdout: 'restored\n' });
  expect((await cli('kill', 'credential', '-t', 'acme', 'service:docs-api', 'x')).stderr).toContain(
    'mandate: not_found: service:docs-api has no such credential',
  );
});

test('what is not there is an error', async () => {
  const typo = await cli('kill', 'issuer', '-t', 'acme', 'https://login.acme.example');
  expect(typo.code).toBe(2);
  expect(typo.stderr).toBe('mandate: not_found: the tenant trusts no such issuer, and has no grants of it\n');
  expect((await cli('restore', 'tenant', '-t', 'acme')).stderr).toBe(
    'mandate: not_found: the tenant is not killed\n',
  );
  expect((await cli('kill', 'subject', '-t', 'acme', 'alice')).stderr).toContain('the subject is class:id');
});
