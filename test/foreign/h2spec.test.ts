import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Listener } from '../../src/server/listener.ts';
import type { Exchange } from '../../src/server/transport/exchange.ts';
import { SERVED_BY_NODE } from './node-http2.ts';
import { goProgram, run } from './programs.ts';
import { certify, type Security, securities } from './served.ts';

/** h2spec, the conformance tests of HTTP/2 and HPACK, with its strict ones, in the version of tools/clients/go.mod. */

interface Listening {
  readonly port: number;
  readonly close: () => Promise<void>;
}

/** Cases of flow control are skipped where an answer has less of a body. */
const BODY = 'x'.repeat(500);

/**
 * What is tested: our listener in front of something that waits for the whole of a request. What answers earlier, as
 * Mandate refuses a method, closes the stream before h2spec has done to it what is wrong.
 */
async function listen(security: Security): Promise<Listening> {
  const request = async (exchange: Exchange): Promise<void> => {
    try {
      while (await exchange.next());
      exchange.answer(200, new Headers({ 'content-type': 'text/plain' }), BODY);
    } catch {
      // The request was broken off, as many are here.
    }
  };
  const listener = new Listener(
    { request: (exchange) => void request(exchange) },
    { nodeHttp2: SERVED_BY_NODE },
  );
  const files = security === 'TLS' ? await certify(folder) : undefined;
  const tls = files && { cert: readFileSync(files.cert), key: readFileSync(files.key), requestCert: false };
  const port = await listener.listen({ host: '127.0.0.1', port: 0, tls });
  return { port, close: async () => await listener[Symbol.asyncDispose]() };
}

/** How many cases h2spec has. */
const CASES = 146;

/** The port speaks HTTP/1.1 too: what is not the preface of HTTP/2 is answered, and closed, in that. */
const ALWAYS: Readonly<Record<Security, readonly string[]>> = {
  cleartext: ['http2/3.5: Sends invalid connection preface'],
  TLS: [],
};

/** Node ignores frames on streams that are closed, and of PRIORITY all that is wrong. */
const OF_NODE = [
  'http2/5.1: closed: Sends a DATA frame after sending RST_STREAM frame',
  'http2/5.1: closed: Sends a HEADERS frame after sending RST_STREAM frame',
  'http2/5.1: closed: Sends a DATA frame',
  'http2/5.1: closed: Sends a HEADERS frame',
  'http2/5.1.1: Sends stream identifier that is numerically smaller than previous',
  'http2/5.3.1: Sends PRIORITY frame that depend on itself',
  'http2/6.3: Sends a PRIORITY frame with 0x0 stream identifier',
  // It ends the connection at an acknowledgement of a ping that it has not sent.
  'http2/6.7: Sends a PING frame with ACK',
  // And there, where the stream alone is to end.
  'http2/6.9.1: Sends multiple WINDOW_UPDATE frames increasing the flow control window to above 2^31-1 on a stream',
];

interface Case {
  readonly name: string;
  readonly failed: boolean;
}

const CASE =
  /<testcase package="([^"]*)" classname="([^"]*)"[^>]*>(?:<\/testcase>|\s*<(error|failure|skipped)>(.*?)<\/\3>)/gs;

/** The report is not quite XML: it quotes bytes as they came. What was expected and what was seen is a line each. */
const casesIn = (report: string): Case[] =>
  [...report.matchAll(CASE)].map(([, group = '', name = '', kind, complaint = '']) => {
    // A reset is a connection that was closed; h2spec knew that only later (its commit 9b53157).
    const isClosed = /^Connection closed$.*connection reset by peer/ms.test(complaint);
    const text = name.replaceAll(/&#(\d+);/g, (_, code: string) => String.fromCharCode(Number(code)));
    return { name: `${group}: ${text}`, failed: kind !== undefined && !isClosed };
  });

let folder: string;
let h2spec: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-h2spec-'));
  h2spec = await goProgram('h2spec');
}, 300_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

async function casesOf(port: number, security: Security): Promise<Case[]> {
  const report = path.join(folder, `${security}.xml`);
  const how = security === 'TLS' ? ['--tls', '--insecure'] : [];
  const to = ['--host', '127.0.0.1', '--port', String(port)];
  // It ends with 1 where any case failed.
  await run(h2spec, [...to, ...how, '--strict', '--junit-report', report], { timeoutMs: 280_000 });
  return casesIn(await readFile(report, 'utf8'));
}

describe('h2spec', () => {
  test.each(securities)(
    'every case passes over %s but those that are named here',
    async (security) => {
      const { port, close } = await listen(security);
      try {
        const cases = await casesOf(port, security);
        expect(cases).toHaveLength(CASES);
        const failed = cases.filter((each) => each.failed).map(({ name }) => name);
        if (SERVED_BY_NODE)
          // Now and then others: what comes on a stream that Node has just closed is ignored, whatever it is.
          expect(failed).toEqual(expect.arrayContaining([...ALWAYS[security], ...OF_NODE]));
        else expect(failed).toEqual(ALWAYS[security]);
      } finally {
        await close();
      }
    },
    300_000,
  );
});
