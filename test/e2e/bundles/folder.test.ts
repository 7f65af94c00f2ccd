import { mkdir, mkdtemp, rename, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { decided, policyOf } from '../../policy/revisions/lab.ts';
import { eventually, type Options, type Running, startServer } from '../server.ts';
import { administered, policy, readyz, write } from './stage.ts';

/** A tenant's policy in a folder that something else keeps: git-sync, or a volume of Kubernetes. */

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-synced-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const pulling = (at: string): NonNullable<Options['overrides']> => ({
  bundles: [{ tenant: 'acme', folder: { path: at, root: folder }, min_seconds: 60, max_seconds: 60 }],
});

const becomes = (server: Running, what: string): Promise<string> =>
  eventually(
    () => decided(server),
    (each) => each === what,
  );

/** A link is swapped by a rename over it, as git-sync and the kubelet do. */
async function swap(link: string, to: string): Promise<void> {
  await symlink(to, `${link}.new`);
  await rename(`${link}.new`, link);
}

describe('a folder', () => {
  test('of git-sync: a swapped link is noticed, and what it leads to is the policy', async () => {
    await write(path.join(folder, '.worktrees/one'), policy(true));
    await write(path.join(folder, '.worktrees/two'), policy(false));
    const link = path.join(folder, 'current');
    await swap(link, '.worktrees/one');
    await using server = await startServer({ overrides: pulling(link) });
    await becomes(server, 'allow');
    await swap(link, '.worktrees/two');
    await becomes(server, 'deny');
    const [newest] = await policyOf(server).list();
    expect(newest).toMatchObject({ state: 'active', author: link });
  });

  test('of a ConfigMap: files that are links into a version, swapped beneath them', async () => {
    const mount = path.join(folder, 'mount');
    const version = async (name: string, isOpen: boolean): Promise<void> => {
      const files = policy(isOpen);
      await write(path.join(mount, name), {
        'office.rego': files['authz/office.rego'] ?? '',
        'data.json': JSON.stringify({ office: { open: isOpen } }),
      });
    };
    await mkdir(mount);
    await version('..2026_01_01', true);
    await swap(path.join(mount, '..data'), '..2026_01_01');
    for (const name of ['office.rego', 'data.json']) await symlink(`..data/${name}`, path.join(mount, name));
    await using server = await startServer({ overrides: pulling(mount) });
    await becomes(server, 'allow');
    await version('..2026_01_02', false);
    await swap(path.join(mount, '..data'), '..2026_01_02');
    await becomes(server, 'deny');
  });

  test('that is swapped without an end is never read half and half', async () => {
    // In each version Rego and data say the same number, and a policy of two numbers fails its test.
    const version = (number: number) => ({
      'authz/a.rego': `package authz\n\nrego := ${number}\n\nallow if data.both.number == rego\n`,
      'authz/a_test.rego':
        'package authz_test\n\nimport data.authz\n\ntest_same if authz.allow with input as {}\n',
      'both/data.json': JSON.stringify({ number }),
    });
    const names = ['a', 'b', 'c', 'd'];
    for (const [number, name] of names.entries()) await write(path.join(folder, name), version(number));
    const link = path.join(folder, 'current');
    await swap(link, 'a');
    await using server = await startServer({ overrides: pulling(link) });
    await becomes(server, 'allow');
    for (let turn = 0; turn < 300; turn += 1) {
      await swap(link, names[turn % names.length] ?? 'a');
      if (turn % 3 === 0) await delay(turn % 45);
      if (turn % 10 === 0) expect(await decided(server)).toBe('allow');
    }
    expect(await administered(server, 'policy.reject')).toEqual([]);
    expect(await decided(server)).toBe('allow');
    await eventually(
      () => administered(server, 'policy.activate'),
      (records) => records.length > 1,
    );
  });

  test('that is not there yet, or is emptied, is waited for, and nothing of it decides', async () => {
    const late = path.join(folder, 'late');
    await using server = await startServer({ overrides: pulling(late) });
    await eventually(
      () => readyz(server),
      (text) => text.includes(`tenant acme: the bundle of ${late} is not taken:`),
    );
    expect(await decided(server)).toBe('deny');
    await write(path.join(folder, 'made'), policy(true));
    await rename(path.join(folder, 'made'), late);
    await becomes(server, 'allow');
    await rename(late, path.join(folder, 'away'));
    await mkdir(late);
    await eventually(
      () => readyz(server),
      (text) => text.includes('holds no policy'),
    );
    expect(await decided(server)).toBe('allow');
  });

  test('links that lead out of its root are refused by name', async () => {
    const mount = path.join(folder, 'mount');
    await write(mount, policy(true));
    await symlink('/etc/hostname', path.join(mount, 'x.rego'));
    await using server = await startServer({ overrides: pulling(mount) });
    await eventually(
      () => readyz(server),
      (text) => text.includes(`tenant acme: the policy of ${mount} does not compile`),
    );
    expect(await decided(server)).toBe('deny');
  });
});
