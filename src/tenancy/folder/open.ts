import { constants } from 'node:fs';
import { lstat, open, readlink, realpath } from 'node:fs/promises';

/** What a file was when it was read; another one under the same name, or another content, differs in it. */
export type Identity = string;

/** A file that is not taken, and why; `changed` where another look may find it as it should be. */
export class Refused extends Error {
  readonly changed: boolean;

  constructor(problem: string, changed = false) {
    super(problem);
    this.changed = changed;
  }
}

/**
 * Reads a regular file whose name has no link in it, at most `maxBytes` of it. The handle is what is judged, after it
 * was opened: a name that is made to lead elsewhere in between is noticed. Opening waits for nobody, so a pipe or a
 * device hangs nothing.
 * @throws Refused, or the system's own error
 */
export async function readRegular(
  real: string,
  maxBytes: number,
): Promise<{ bytes: Buffer; identity: Identity }> {
  const handle = await open(real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  try {
    const status = await handle.stat({ bigint: true });
    if (!status.isFile()) throw new Refused('it is not a regular file');
    if (status.size > maxBytes) throw new Refused(`it is larger than ${maxBytes} bytes`);
    if (!(await isAt(handle.fd, real, status)))
      throw new Refused('it was put elsewhere while it was opened', true);
    const bytes = Buffer.allocUnsafe(Number(status.size) + 1);
    let length = 0;
    while (length < bytes.length) {
      const { bytesRead } = await handle.read(bytes, length, bytes.length - length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    // It has grown, or is shorter than it said.
    if (BigInt(length) !== status.size) throw new Refused('it changed while it was read', true);
    return { bytes: bytes.subarray(0, length), identity: identityOf(status) };
  } finally {
    await handle.close();
  }
}

export async function identityAt(real: string): Promise<Identity> {
  return identityOf(await lstat(real, { bigint: true }));
}

interface Status {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

const identityOf = ({ dev, ino, size, mtimeNs, ctimeNs }: Status): Identity =>
  [dev, ino, size, mtimeNs, ctimeNs].join(' ');

/** Whether what is open is what has this name. Linux says where a handle is; elsewhere the name is looked up again. */
async function isAt(handle: number, real: string, { dev, ino }: Status): Promise<boolean> {
  const place = await readlink(`/proc/self/fd/${handle}`).catch(() => undefined);
  if (place !== undefined) return place === real;
  const now = await lstat(real, { bigint: true });
  return (await realpath(real)) === real && now.dev === dev && now.ino === ino;
}
