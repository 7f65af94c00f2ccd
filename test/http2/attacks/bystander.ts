import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { RawClient } from '../raw-client.ts';
import { data, END, headers, request } from '../wire.ts';

/** Somebody else asks the same server, on a connection of its own: answers with the status, or throws. */
export async function bystander(port: number): Promise<string | undefined> {
  using client = await RawClient.connect(port);
  client.send(headers(1, request('/bystander')), data(1, 'still there?', END));
  return (await client.answered(1)).status;
}

/** Bytes that are in use after everything that can be has been freed. */
export function memoryInUse(): number {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  gc();
  gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Sends in pieces until all is sent or the connection is over, letting the server read in between. */
export async function flood(
  client: RawClient,
  count: number,
  frame: (at: number) => Uint8Array,
): Promise<void> {
  for (let at = 0; at < count && !client.hasEnded && !client.isClosed; ) {
    const parts: Uint8Array[] = [];
    for (let size = 0; at < count && size < 16_384; at += 1) {
      const bytes = frame(at);
      parts.push(bytes);
      size += bytes.length;
    }
    client.send(...parts);
    await new Promise((resolve) => setImmediate(resolve));
  }
}
