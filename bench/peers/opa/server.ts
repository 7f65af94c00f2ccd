import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Target, throughput } from '../../harness/load.ts';
import { answers, freePort, launch } from '../../harness/processes.ts';
import { type Question, typical } from '../../scenario/questions.ts';
import { FULL_LOAD, type Peer } from '../peer.ts';

export interface OpaPeer extends Peer {
  /** Which HTTP the load speaks with it: what it serves faster. */
  readonly protocol: 'HTTP/1.1' | 'HTTP/2';
}

const headers = { 'content-type': 'application/json' } as const;
const opa = path.resolve(import.meta.dirname, '../../../bin/opa');

/** The question as OPA is asked it: with the principal's attributes, since it keeps none. */
const inputOf = ({ principal: { role, ...principal }, action, document }: Question): string =>
  JSON.stringify({ input: { principal: { ...principal, roles: [role] }, action, document } });

/** The scenario on OPA's server, decision logs printed into a local file. */
export async function startOpa(folder: string): Promise<OpaPeer> {
  const port = await freePort();
  const base = `http://127.0.0.1:${port}`;
  const running = await launch({
    command: opa,
    args: [
      'run',
      '--server',
      '--h2c',
      '--disable-telemetry',
      `--addr=127.0.0.1:${port}`,
      '--log-level=error',
      '--set=decision_logs.console=true',
      path.join(import.meta.dirname, 'document.rego'),
    ],
    log: path.join(folder, 'decisions.log'),
    ready: () => answers(`${base}/health`),
  });
  const url = `${base}/v1/data/documents/allow`;
  const ask = async (question: Question): Promise<string> => {
    const response = await fetch(url, { method: 'POST', headers, body: inputOf(question) });
    if (!response.ok) throw new Error(`OPA: ${response.status} ${await response.text()}`);
    return response.text();
  };
  const body = path.join(folder, 'input.json');
  writeFileSync(body, inputOf(typical));
  const responseBytes = Buffer.byteLength(await ask(typical));
  const h2: Target = { url, headers, body, ...FULL_LOAD, responseBytes };
  const h1: Target = { ...h2, http1: true, clients: 64, streams: 1 };
  const faster = (await throughput(h2, 1)) > (await throughput(h1, 1)) ? h2 : h1;
  return {
    running,
    unary: faster,
    protocol: faster.http1 ? 'HTTP/1.1' : 'HTTP/2',
    allows: async (question) => (JSON.parse(await ask(question)) as { result?: unknown }).result === true,
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}
