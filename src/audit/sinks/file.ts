import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { describe } from '../../errors.ts';
import type { Outgoing } from './backlog.ts';
import type { Format } from './formats.ts';
import type { FileTarget } from './settings.ts';
import { type Delivery, NotDelivered } from './sink.ts';

const TAIL_BYTES = 128 * 1024;

/** A line a record, on the disk before its place is kept. A file that is full is renamed, `.1` being the newest. */
export class FileDelivery implements Delivery {
  readonly #target: FileTarget;
  readonly #format: Format;
  #file: FileHandle | undefined;
  #bytes = 0;

  constructor(target: FileTarget, format: Format) {
    this.#target = target;
    this.#format = format;
  }

  async deliver(records: readonly Outgoing[]): Promise<void> {
    const { path: name, max_bytes } = this.#target;
    try {
      const text = Buffer.from(records.map((each) => `${this.#format.line(each)}\n`).join(''));
      if (this.#bytes > 0 && this.#bytes + text.length > max_bytes) await this.#rotate();
      const file = await this.#open();
      // Behind what was wholly written: what a failure left of a batch is written over.
      await writeAll(file, text, this.#bytes);
      await file.truncate(this.#bytes + text.length);
      await file.datasync();
      this.#bytes += text.length;
    } catch (cause) {
      await this.#close();
      throw new NotDelivered(`${name} cannot be written: ${describe(cause)}`, { cause });
    }
  }

  async #open(): Promise<FileHandle> {
    if (this.#file) return this.#file;
    const { path: name } = this.#target;
    await (await open(name, 'a', 0o600)).close();
    await synced(path.dirname(name));
    const file = await open(name, 'r+');
    this.#file = file;
    this.#bytes = await endOfLines(file);
    if (this.#bytes === 0 && (await file.stat()).size > 0)
      throw new Error(
        "it holds no whole line: what is there is another's, or was cut off by a crash; move it away",
      );
    return file;
  }

  async #rotate(): Promise<void> {
    const { path: name, keep } = this.#target;
    await this.#close();
    await rm(`${name}.${keep}`, { force: true });
    for (let serial = keep - 1; serial >= 1; serial -= 1)
      await renamed(`${name}.${serial}`, `${name}.${serial + 1}`);
    if (keep > 0) await renamed(name, `${name}.1`);
    else await rm(name, { force: true });
    await synced(path.dirname(name));
  }

  async #close(): Promise<void> {
    await this.#file?.close().catch(() => undefined);
    this.#file = undefined;
    this.#bytes = 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }
}

/** A write may take less than it was given, as where the disk fills. */
async function writeAll(file: FileHandle, bytes: Buffer, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, at + done);
    if (bytesWritten === 0) throw new Error('it takes no more');
    done += bytesWritten;
  }
}

async function synced(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function renamed(from: string, to: string): Promise<void> {
  await rename(from, to).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
}

/** Where the last whole line ends: a cut may have left part of one. */
async function endOfLines(file: FileHandle): Promise<number> {
  const { size } = await file.stat();
  for (let end = size; end > 0; end -= TAIL_BYTES) {
    const from = Math.max(0, end - TAIL_BYTES);
    const bytes = Buffer.alloc(end - from);
    await file.read(bytes, 0, bytes.length, from);
    const newline = bytes.lastIndexOf(0x0a);
    if (newline >= 0) return from + newline + 1;
  }
  return 0;
}
