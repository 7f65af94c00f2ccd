import http2 from 'node:http2';

const PREFIX_BYTES = 5;

/** gRPC's length-prefixed message, uncompressed. */
export function frame(message: Uint8Array): Buffer {
  const framed = Buffer.alloc(PREFIX_BYTES + message.length);
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, PREFIX_BYTES);
  return framed;
}

export interface GrpcAnswer {
  readonly messages: readonly Buffer[];
  /** The length of the response's body, prefixes included. */
  readonly bytes: number;
}

/** Sends a body of frames as h2load would and reads what comes back. Throws unless the status is OK. */
export async function call(
  url: string,
  headers: Readonly<Record<string, string>>,
  body: Uint8Array,
): Promise<GrpcAnswer> {
  const { origin, pathname } = new URL(url);
  const session = http2.connect(origin);
  try {
    return await new Promise<GrpcAnswer>((resolve, reject) => {
      session.on('error', reject);
      const stream = session.request({ ':method': 'POST', ':path': pathname, ...headers });
      const chunks: Buffer[] = [];
      let status: unknown;
      stream.on('response', (received) => {
        status = received['grpc-status'];
      });
      stream.on('trailers', (received) => {
        status = `${String(received['grpc-status'])} ${String(received['grpc-message'] ?? '')}`;
      });
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('error', reject);
      stream.on('end', () => {
        const answer = Buffer.concat(chunks);
        if (String(status).startsWith('0')) resolve({ messages: messagesOf(answer), bytes: answer.length });
        else reject(new Error(`${url}: grpc-status ${String(status)}`));
      });
      stream.end(body);
    });
  } finally {
    session.close();
  }
}

function messagesOf(body: Buffer): Buffer[] {
  const messages: Buffer[] = [];
  for (let at = 0; at < body.length; ) {
    const length = body.readUInt32BE(at + 1);
    messages.push(body.subarray(at + PREFIX_BYTES, at + PREFIX_BYTES + length));
    at += PREFIX_BYTES + length;
  }
  return messages;
}
