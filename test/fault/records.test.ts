import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { stringify } from 'yaml';
import { isSigned, keyOf, stated } from '../e2e/log-by-hand.ts';
import { aliceReads, check, request } from '../e2e/requests.ts';
import { eventually, secrets, sha256, writeTenants } from '../e2e/server.ts';
import { SIDECAR_SECRET } from '../fleet/fleet.ts';
import { idsOf, logsAt, queried } from '../fleet/kept.ts';
import { Line } from '../fleet/line.ts';
import { type ServeProcess, serveProcess } from './process.ts';

/** Real processes, killed while they decide and send: what was answered is at the authority, each once. */

const BASE = 'http://pdp.acme.test';
const ROUNDS = Number(process.env['FLEET_KILLS'] ?? 2);
/** Of a round a server starts; a slow machine takes ten seconds for it. */
const PATIENCE_MS = 180_000 + ROUNDS * 20_000;

/** A process on a folder that stays, with a configuration. */
async function processIn(folder: string, config: object, isSidecar: boolean): Promise<ServeProcess> {
  const file = path.join(folder, 'mandate.yaml');
  await writeFile(file, stringify(config));
  return await serveProcess({ folder, flags: ['--config', file], isSidecar });
}

test(
  'a sidecar and its authority that are killed in turn lose nothing and keep nothing twice',
  async () => {
    await using stack = new AsyncDisposableStack();
    const folderOf = async (): Promise<string> =>
      stack.adopt(await mkdtemp(path.join(tmpdir(), 'mandate-records-')), (folder) =>
        rm(folder, { recursive: true, force: true }),
      );
    const [there, here] = [await folderOf(), await folderOf()];
    await writeTenants(there);
    const authority = () =>
      processIn(
        there,
        {
          base_url: BASE,
          operators: [
            { id: 'root', secret_sha256: sha256(secrets.operator) },
            { id: 'sidecars', secret_sha256: sha256(SIDECAR_SECRET), may: ['sync.follow'] },
          ],
        },
        false,
      );
    const secret = path.join(here, 'secret');
    await writeFile(secret, SIDECAR_SECRET);
    const lines = [
      stack.use(await Line.to('http://127.0.0.1:9')),
      stack.use(await Line.to('http://127.0.0.1:9')),
    ] as const;
    const sidecar = () =>
      processIn(
        here,
        {
          base_url: BASE,
          node: 'one',
          authority: { data: lines[0].url, admin: lines[1].url, secret_file: secret },
        },
        true,
      );
    let [one, two] = [await authority(), undefined as ServeProcess | undefined];
    stack.defer(async () => {
      await one.end('SIGKILL');
      await two?.end('SIGKILL');
    });
    const lead = (): void => {
      lines[0].leadTo(one.data);
      lines[1].leadTo(one.admin);
    };
    lead();
    two = await sidecar();
    const answered: string[] = [];
    /** What is on its way when the process is killed is answered to nobody. */
    const decide = async (count: number): Promise<void> => {
      for (let at = 0; at < count; at += 1)
        await check(two?.data ?? '', aliceReads).then(
          ({ status, body }) => void (status === 200 && answered.push(body.decisionId)),
          () => undefined,
        );
    };
    await eventually(
      () => request(`${two?.data}/readyz`),
      ({ status }) => status === 200,
    );
    for (let round = 0; round < ROUNDS; round += 1) {
      const deciding = decide(150);
      await new Promise((resolve) => setTimeout(resolve, 400 + 300 * (round % 4)));
      if (round % 2 === 0) {
        await one.end('SIGKILL');
        await deciding;
        one = await authority();
        lead();
      } else {
        await two.end('SIGKILL');
        await deciding;
        two = await sidecar();
      }
      await decide(20);
    }
    const asked = { node: 'one', oldestFirst: true, pageSize: 1_000 };
    const all = await eventually(
      () => queried(one, asked).catch(() => []),
      (records) => {
        const found = new Set(idsOf(records));
        return answered.every((id) => found.has(id));
      },
    );
    expect(all.map(({ index }) => Number(index ?? 0))).toEqual(all.map((_, at) => at));
    expect(new Set(idsOf(all)).size).toBe(all.length);
    // What it is there is what it is here, byte for byte, and signed by its own key.
    const own = await queried(two, { ...asked, node: '' });
    expect(all.map(({ body }) => body)).toEqual(own.slice(0, all.length).map(({ body }) => body));
    const [log] = await logsAt(two);
    const note = await request<{ text: string }>(`${one.admin}/t/acme/log/one/checkpoint`);
    expect(isSigned(stated(note.body.text), keyOf(log?.key ?? ''))).toBe(true);
    expect(answered.length).toBeGreaterThan(ROUNDS * 20);
  },
  PATIENCE_MS,
);
