import { once } from 'node:events';
import { copyFile } from 'node:fs/promises';
import path from 'node:path';
import tls from 'node:tls';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../../../storage/store.ts';
import { Authority } from '../../authority.ts';
import { eventually } from '../../server.ts';
import { acceptingOf, attacked, watched } from './attacked.ts';

test('where the threads end main accepts with the certificates of now, not with those of the start', async () => {
  await using place = await temporaryFolder();
  const authority = await Authority.create(place.folder, 'ours');
  const first = await authority.issue('first', { 'IP.1': '127.0.0.1' });
  const renewed = await authority.issue('renewed', { 'IP.1': '127.0.0.1' });
  const files = { cert: path.join(place.folder, 'served.crt'), key: path.join(place.folder, 'served.key') };
  const give = async ({ cert, key }: typeof files): Promise<void> => {
    await copyFile(cert, files.cert);
    await copyFile(key, files.key);
  };
  await give(first);
  const { value, threads } = await watched(() => attacked({ tls: files }));
  await using served = value;
  const shown = async (): Promise<string> => {
    const socket = tls.connect({
      host: '127.0.0.1',
      port: served.mandate.dataPort,
      ca: authority.ca.pem.cert,
    });
    try {
      await once(socket, 'secureConnect');
      return String(socket.getPeerCertificate().subject.CN);
    } catch (error) {
      return String(error);
    } finally {
      socket.destroy();
    }
  };
  expect(await shown()).toBe('first');
  await give(renewed);
  await eventually(
    () => Promise.all(Array.from({ length: 8 }, shown)),
    (names) => names.every((name) => name === 'renewed'),
  );
  await Promise.all(threads.map((thread) => thread.terminate()));
  expect(acceptingOf(served).ready).toBe(0);
  const name = await eventually(shown, (each) => !each.includes('ECONNREFUSED'));
  expect(name).toBe('renewed');
});
