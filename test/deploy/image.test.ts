import { once } from 'node:events';
import { existsSync } from 'node:fs';
import http from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Running, startServer } from '../e2e/server.ts';
import { type Ran, run } from '../foreign/programs.ts';
import { repository, textOf } from './manifests.ts';

/** The Dockerfile, as far as it can be read without an engine; and what its health check runs. */

interface Instruction {
  readonly name: string;
  readonly text: string;
}

const instructionsIn = (text: string): Instruction[] =>
  text
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => ({ name: line.split(' ')[0] ?? '', text: line.slice(line.indexOf(' ') + 1) }));

const instructions = instructionsIn(await textOf('Dockerfile'));
const of = (name: string): string[] =>
  instructions.filter((each) => each.name === name).map(({ text }) => text);
const last = instructions.slice(instructions.findLastIndex(({ name }) => name === 'FROM'));

/** Where the context's files go, and what they are called. */
const copied = of('COPY')
  .filter((text) => !text.startsWith('--from='))
  .flatMap((text) => text.split(' ').slice(0, -1));

describe('Dockerfile', () => {
  test('is made of images that are pinned, and of its own stages', () => {
    const stages = of('FROM').map((text) => text.split(' AS ')[1] ?? '');
    const images = of('ARG').map((text) => text.split('='));
    expect(images).toHaveLength(3);
    for (const [name, image = ''] of images) {
      // A version to its last part, or its Debian's.
      expect(image, name).toMatch(/^docker\.io\/library\/[a-z]+:\d+\.\d+(\.\d+)?-[a-z]+$/);
      expect(image).not.toContain('latest');
    }
    const known = [...images.map(([name]) => `\${${name}}`), ...stages];
    for (const text of of('FROM')) expect(known).toContain(text.split(' ')[0]);
    for (const text of of('COPY')) {
      const [, from] = /^--from=(\S+)/.exec(text) ?? [];
      if (from !== undefined) expect(stages).toContain(from);
    }
  });

  test('has the Node that is pinned for everybody', async () => {
    const { optionalDependencies } = JSON.parse(await textOf('package.json')) as {
      optionalDependencies: { node: string };
    };
    expect(of('ARG').find((text) => text.startsWith('NODE_IMAGE'))).toContain(
      `node:${optionalDependencies.node}-`,
    );
  });

  test('copies what is there, and what .dockerignore lets through', async () => {
    const lines = (await textOf('.dockerignore')).split('\n').filter((line) => line && !line.startsWith('#'));
    expect(lines[0]).toBe('*');
    const let_ = lines.filter((line) => line.startsWith('!')).map((line) => line.slice(1));
    expect(copied.length).toBeGreaterThan(10);
    for (const file of copied) {
      expect(existsSync(path.join(repository, file)), file).toBe(true);
      expect(let_, file).toContain(file);
    }
    // Nothing else: stores, keys and what is generated stay out, whatever lies about.
    for (const file of let_) expect(copied, file).toContain(file);
  });

  test('ends as somebody who is not root, whose files are not its own to change', () => {
    expect(of('USER').at(-1)).toBe('65532:65532');
    const after = last.slice(last.findIndex(({ name }) => name === 'USER'));
    expect(after.map(({ name }) => name)).not.toContain('COPY');
    for (const { text } of last.filter(({ name }) => name === 'COPY'))
      expect(text).not.toMatch(/--chown=(?!0:0)/);
    expect(of('ADD')).toEqual([]);
  });

  test('has no secret in a layer', () => {
    const given = [...of('ENV'), ...of('ARG')].join('\n');
    expect(given).not.toMatch(/secret|key|token|password|credential/i);
  });

  test('starts, stops and is asked by what is in it', () => {
    const lastOf = (name: string) => last.find((each) => each.name === name)?.text ?? '';
    for (const name of ['ENTRYPOINT', 'HEALTHCHECK']) {
      const [, file = ''] = /\["node", "\/opt\/mandate\/([\w/.]+)"/.exec(lastOf(name)) ?? [];
      expect(copied, name).toContain(file);
    }
    expect(lastOf('STOPSIGNAL')).toBe('SIGTERM');
    expect(lastOf('CMD')).toBe('["serve"]');
  });
});

const health = (...args: string[]): Promise<Ran> =>
  run('env', ['-u', 'MANDATE_HEALTH_URL', process.execPath, 'bin/health.mjs', ...args], {
    timeoutMs: 30_000,
  });

describe('bin/health.mjs', () => {
  let server: Running;
  const socket = `/tmp/mandate-health-${process.pid}.sock`;
  beforeAll(async () => {
    server = await startServer({ overrides: { socket: { path: socket } } });
  });
  afterAll(() => server[Symbol.asyncDispose]());

  test('says that a server is ready, on each plane and by its socket', async () => {
    for (const address of [`${server.data}/readyz`, `${server.admin}/livez`, `unix:${socket}`])
      expect(await health(address), address).toEqual({ code: 0, stdout: 'health: 200\n', stderr: '' });
  });

  test('says that it is not: by its answer, without one, and where nothing comes', async () => {
    const [busy, mute] = [http.createServer((_, answer) => answer.writeHead(503).end()), createServer()];
    for (const each of [busy, mute]) await once(each.listen(0, '127.0.0.1'), 'listening');
    const at = (each: http.Server | typeof mute) =>
      `http://127.0.0.1:${(each.address() as AddressInfo).port}`;
    const closed = at(busy);
    expect(await health(`${closed}/readyz`)).toMatchObject({ code: 1, stderr: 'health: 503\n' });
    const began = performance.now();
    expect(await health(at(mute))).toMatchObject({ code: 1 });
    expect(performance.now() - began).toBeGreaterThan(1_900);
    busy.close();
    mute.close();
    expect(await health(closed)).toMatchObject({ code: 1, stderr: expect.stringContaining('ECONNREFUSED') });
    expect(await health('unix:/nowhere/at/all.sock')).toMatchObject({ code: 1 });
    // It takes TLS alone: what answers in cleartext is no server that is ready.
    expect(await health(server.data.replace('http:', 'https:'))).toMatchObject({ code: 1 });
  });

  test('says that it was asked wrongly', async () => {
    for (const address of ['nonsense', 'ftp://127.0.0.1/readyz', ''])
      expect(await health(address), address).toMatchObject({ code: 2 });
  });
});
