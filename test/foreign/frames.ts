import net from 'node:net';

/** A relay to a server that counts the frames of HTTP/2 which pass, in cleartext (RFC 9113 section 4.1). */

const types = [
  'DATA',
  'HEADERS',
  'PRIORITY',
  'RST_STREAM',
  'SETTINGS',
  'PUSH_PROMISE',
  'PING',
  'GOAWAY',
  'WINDOW_UPDATE',
  'CONTINUATION',
] as const;
type FrameType = (typeof types)[number];

const PREFACE_BYTES = 24;
const HEAD_BYTES = 9;

/** Finds frames in the bytes of one direction, however they are cut. */
class Frames {
  readonly #seen: (type: FrameType) => void;
  #skip: number;
  #head = Buffer.alloc(0);

  constructor(seen: (type: FrameType) => void, skip: number) {
    this.#seen = seen;
    this.#skip = skip;
  }

  take(chunk: Buffer): void {
    let rest = chunk;
    while (rest.length > 0) {
      const skipped = Math.min(this.#skip, rest.length);
      this.#skip -= skipped;
      rest = rest.subarray(skipped);
      const missing = HEAD_BYTES - this.#head.length;
      this.#head = Buffer.concat([this.#head, rest.subarray(0, missing)]);
      rest = rest.subarray(missing);
      if (this.#head.length < HEAD_BYTES) return;
      const type = types[this.#head[3] ?? types.length];
      if (type) this.#seen(type);
      this.#skip = this.#head.readUIntBE(0, 3);
      this.#head = Buffer.alloc(0);
    }
  }
}

export interface Relay extends AsyncDisposable {
  readonly address: string;
  /** How many have passed so far. */
  count(from: 'client' | 'server', type: FrameType): number;
  connections(): number;
}

export async function relayTo(port: number): Promise<Relay> {
  const counts = new Map<string, number>();
  const sockets = new Set<net.Socket>();
  let connections = 0;
  const watch = (from: net.Socket, to: net.Socket, name: string, skip: number): void => {
    const seen = (type: FrameType): void => {
      counts.set(`${name} ${type}`, (counts.get(`${name} ${type}`) ?? 0) + 1);
    };
    const frames = new Frames(seen, skip);
    sockets.add(from);
    from.on('data', (chunk: Buffer) => frames.take(chunk));
    from.on('error', () => to.destroy());
    from.on('close', () => sockets.delete(from));
    from.pipe(to);
  };
  const server = net.createServer({ noDelay: true }, (client) => {
    connections += 1;
    const upstream = net.connect({ port, host: '127.0.0.1', noDelay: true });
    watch(client, upstream, 'client', PREFACE_BYTES);
    watch(upstream, client, 'server', 0);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: `127.0.0.1:${(server.address() as net.AddressInfo).port}`,
    count: (from, type) => counts.get(`${from} ${type}`) ?? 0,
    connections: () => connections,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
