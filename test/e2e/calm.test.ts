import { channel } from 'node:diagnostics_channel';
import { once } from 'node:events';
import net from 'node:net';
import { expect, test } from 'vitest';
import { PREFACE } from '../../src/http2/wire/frames.ts';
import { startServer } from './server.ts';

const SETTINGS = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
const PING = Buffer.from([0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
const GOAWAY = 7;
const ENHANCE_YOUR_CALM = 11;

/** The code of the GOAWAY among frames. */
function codeIn(frames: Buffer): number | undefined {
  for (let at = 0; at + 9 <= frames.length; at += 9 + frames.readUIntBE(at, 3))
    if (frames[at + 3] === GOAWAY) return frames.readUInt32BE(at + 13);
  return undefined;
}

// Node's own server has bounds of its own, and tells nobody.
test.skipIf(process.env['MANDATE_HTTP2'] === 'node')(
  'a client that floods is ended, told why, counted and written down; others are served',
  async () => {
    await using server = await startServer();
    const heard: unknown[] = [];
    const hear = (message: unknown): void => void heard.push(message);
    channel('mandate:transport').subscribe(hear);
    const { port, hostname: host } = new URL(server.data);
    const socket = net.connect(Number(port), host);
    socket.on('error', () => undefined);
    socket.write(Buffer.concat([PREFACE, SETTINGS, ...Array.from({ length: 5_000 }, () => PING)]));
    const read: Buffer[] = [];
    socket.on('data', (chunk) => read.push(chunk));
    await once(socket, 'close');
    channel('mandate:transport').unsubscribe(hear);
    expect(codeIn(Buffer.concat(read))).toBe(ENHANCE_YOUR_CALM);
    expect(heard).toEqual([
      { code: 'ENHANCE_YOUR_CALM', reason: 'too many frames of a kind: ping', address: '127.0.0.1' },
    ]);
    const metrics = await (await fetch(`${server.admin}/metrics`)).text();
    expect(metrics).toContain('mandate_http2_ended_total{code="ENHANCE_YOUR_CALM"} 1');
    expect((await fetch(`${server.data}/livez`)).status).toBe(200);
  },
);
