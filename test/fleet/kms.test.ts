import { existsSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { hasPostgres, Postgres } from '../../tools/fleet/postgres.ts';
import { startTransit, TOKEN, type TransitServer } from '../delegation/keys/transit-server.ts';
import { agent, mcp } from '../delegation/stage.ts';
import { type Issuer, startIssuer, trustIn } from '../e2e/issuer.ts';
import { check, connect, exchangeFields, form, tokenReads } from '../e2e/requests.ts';
import {
  bearer,
  eventually,
  type Running,
  startIn,
  startServer,
  type TenantDocument,
} from '../e2e/server.ts';
import { authorityOverrides } from './fleet.ts';

/** Two authorities with one order, whose tenants' keys a KMS wraps: none of them has a master key. */

const isHere = await hasPostgres();
const tokenFile = path.join(tmpdir(), `mandate-fleet-kms-${process.pid}`);

let postgres: Postgres;
let issuer: Issuer;
let transit: TransitServer;
let one: Running;
let two: Running;

const optionsOf = (node: string) => ({
  overrides: {
    ...authorityOverrides,
    store: postgres.url,
    base_url: 'http://pdp.acme.test',
    node,
    kms: { transit: { url: transit.url, key: 'mandate', token_file: tokenFile } },
  },
  acme: (manifest: TenantDocument) => {
    manifest.issuers = [trustIn(issuer.url)];
  },
});

beforeAll(async () => {
  if (!isHere) return;
  await writeFile(tokenFile, TOKEN);
  [postgres, issuer, transit] = await Promise.all([Postgres.start(), startIssuer(), startTransit()]);
  one = await startServer(optionsOf('one'));
  two = await startServer(optionsOf('two'));
});

afterAll(async () => {
  if (!isHere) return;
  for (const each of [two, one, transit, issuer, postgres]) await each[Symbol.asyncDispose]();
  await rm(tokenFile, { force: true });
});

const exchange = async (at: Running) => form(at.data, 'token', exchangeFields(await issuer.sign()), agent);

async function eachIsGoodAtBoth(): Promise<void> {
  for (const minting of [one, two]) {
    const answer = await exchange(minting);
    expect(answer.status, JSON.stringify(answer.body)).toBe(200);
    for (const each of [one, two])
      expect(
        (await check(each.data, tokenReads(answer.body.access_token ?? '', ''), bearer(mcp.secret))).body,
      ).toMatchObject({ decision: 'DECISION_ALLOW' });
  }
}

describe.runIf(isHere)('a KMS and authorities with one order', () => {
  test('one key of a tenant signs at both, and neither has a master key', async () => {
    await eachIsGoodAtBoth();
    for (const { config } of [one, two])
      expect(existsSync(path.join(config.data_dir, 'master.key'))).toBe(false);
    const wrapped = await postgres.query(
      "SELECT body FROM mandate_changes WHERE tenant = 'acme' AND name = 'putTenantKey'",
    );
    expect(wrapped).toHaveLength(1);
    const { sealed } = JSON.parse(String(wrapped[0]?.['body'])) as { sealed: Record<string, string> };
    const [envelope = ''] = Object.values(sealed);
    expect(JSON.parse(Buffer.from(envelope, 'base64').toString())).toMatchObject({
      wrapped: expect.stringMatching(/^vault:v1:/) as unknown,
    });
  });

  test('what one wraps anew, the other unwraps when it starts again', async () => {
    const rotated = await connect(one.admin, 'KeyService/RotateMasterKey', {});
    expect(rotated, JSON.stringify(rotated.body)).toMatchObject({ status: 200, body: { tenants: 2 } });
    await eachIsGoodAtBoth();
    await two.stop();
    two = await startIn(two.folder, optionsOf('two'));
    await eachIsGoodAtBoth();
  });

  test('where one cannot have the KMS when it starts, it signs nothing and the other does', async () => {
    await two.stop();
    const { url } = transit;
    await transit.close();
    two = await startIn(two.folder, optionsOf('two'));
    expect((await exchange(two)).status).toBe(503);
    const answer = await exchange(one);
    expect(answer.status).toBe(200);
    // A look at a token takes no private key.
    expect(
      (await check(two.data, tokenReads(answer.body.access_token ?? '', ''), bearer(mcp.secret))).body,
    ).toMatchObject({ decision: 'DECISION_ALLOW' });
    await transit.listen();
    expect(transit.url).toBe(url);
    await eventually(
      () => exchange(two),
      ({ status }) => status === 200,
    );
    await eachIsGoodAtBoth();
  });
});
