import net from 'node:net';
import tls from 'node:tls';
import { HpackDecoder } from '../../src/http2/hpack/decoder.ts';
import { Flag, Type } from '../../src/http2/wire/frames.ts';
import { describe, type Frame, greeting, ping, type SettingPair, settingsAck, windowUpdate } from './wire.ts';

/** What came on one stream. */
export class Answer {
  fields: [string, string][] = [];
  trailers: [string, string][] = [];
  #parts: Buffer[] = [];
  length = 0;
  isEnded = false;
  /** The code of a RST_STREAM. */
  reset: number | undefined;

  get status(): string | undefined {
    return this.field(':status');
  }

  get body(): Buffer {
    return Buffer.concat(this.#parts);
  }

  /** Neither more of it nor another answer will come. */
  get isOver(): boolean {
    return this.isEnded || this.reset !== undefined;
  }

  field(name: string): string | undefined {
    return this.fields.find(([each]) => each === name)?.[1];
  }

  add(payload: Buffer): void {
    this.#parts.push(payload);
    this.length += payload.length;
  }
}

export interface RawOptions {
  /** The client's SETTINGS; `false` to say nothing by itself, not even the preface. */
  readonly settings?: SettingPair[] | false;
  /** Whether SETTINGS are acknowledged; they are. */
  readonly acknowledges?: boolean;
  /** After how many bytes windows are opened for what was read; they are not. */
  readonly takes?: number;
  /** Keeps its half open when the server ends its own. */
  readonly allowHalfOpen?: boolean;
  /** Over TLS. */
  readonly secure?: tls.ConnectionOptions;
}

/** How long something is waited for that should come at once; only a failure takes so long. */
const PATIENCE_MS = 8_000;

/** A client that sends what it is told to, and keeps what comes. */
export class RawClient implements Disposable {
  readonly socket: net.Socket;
  readonly frames: Frame[] = [];
  readonly answers = new Map<number, Answer>();
  /** The last that came (RFC 9113 section 6.8). */
  goAway: { lastId: number; code: number; reason: string } | undefined;
  isClosed = false;
  hasEnded = false;
  bytesRead = 0;
  acknowledged = 0;
  readonly #decoder = new HpackDecoder();
  readonly #options: RawOptions;
  readonly #checks = new Set<() => void>();
  #rest: Buffer = Buffer.alloc(0);
  #block: { id: number; ends: boolean; parts: Buffer[] } | undefined;
  readonly #owed = new Map<number, number>();
  #pings = 0;

  private constructor(socket: net.Socket, options: RawOptions) {
    this.socket = socket;
    this.#options = options;
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('end', () => {
      this.hasEnded = true;
      this.#wake();
    });
    // A server that ends a connection may reset it too.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.isClosed = true;
      this.#wake();
    });
    if (options.settings !== false) this.send(greeting(...(options.settings ?? [])));
  }

  static async connect(port: number, options: RawOptions = {}): Promise<RawClient> {
    const { allowHalfOpen = false, secure } = options;
    const where = { port, host: '127.0.0.1', noDelay: true, allowHalfOpen };
    const socket = secure ? tls.connect({ ...where, ...secure }) : net.connect(where);
    await new Promise<void>((resolve, reject) => {
      socket.once(secure ? 'secureConnect' : 'connect', resolve);
      socket.once('error', reject);
    });
    return new RawClient(socket, options);
  }

  /** All in one write. What can go nowhere any more is dropped. */
  send(...parts: readonly Uint8Array[]): void {
    if (this.socket.writable) this.socket.write(Buffer.concat(parts));
  }

  answer(id: number): Answer {
    let answer = this.answers.get(id);
    if (!answer) this.answers.set(id, (answer = new Answer()));
    return answer;
  }

  /** Waits until it holds, looking each time that something came. */
  async until(holds: () => boolean, what: string): Promise<void> {
    if (holds()) return;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#checks.delete(check);
        const last = this.frames.slice(-12).map(describe).join(' ');
        const state = `closed: ${this.isClosed}, goaway: ${JSON.stringify(this.goAway)}`;
        reject(new Error(`waited for ${what} in vain; ${state}; the last of ${this.frames.length}: ${last}`));
      }, PATIENCE_MS);
      const check = (): void => {
        if (!holds()) return;
        clearTimeout(timer);
        this.#checks.delete(check);
        resolve();
      };
      this.#checks.add(check);
    });
  }

  /** The answer of a stream, whole or given up; fails if the connection is closed before. */
  async answered(id: number): Promise<Answer> {
    const answer = this.answer(id);
    await this.until(() => answer.isOver || this.isClosed, `an answer on stream ${id}`);
    if (!answer.isOver)
      throw new Error(`closed without an answer on ${id}; goaway: ${JSON.stringify(this.goAway)}`);
    return answer;
  }

  /** All that was sent has been read and what it caused at once is here; fails if the connection is over. */
  async settled(): Promise<void> {
    const payload = `sync${String((this.#pings += 1)).padStart(4, '0')}`;
    this.send(ping(payload));
    const isBack = ({ type, flags, payload: back }: Frame): boolean =>
      type === Type.PING && (flags & Flag.ACK) !== 0 && back.toString('latin1') === payload;
    await this.until(() => this.isClosed || this.frames.some(isBack), 'a PING to come back');
    if (this.isClosed && !this.frames.some(isBack))
      throw new Error(`closed; goaway: ${JSON.stringify(this.goAway)}`);
  }

  /** The server ended the connection: the code of its GOAWAY, undefined if there was none. */
  async ended(): Promise<number | undefined> {
    await this.until(() => this.isClosed || this.hasEnded, 'the connection to be ended');
    return this.goAway?.code;
  }

  async closed(): Promise<void> {
    await this.until(() => this.isClosed, 'the connection to be closed');
  }

  count(type: number, id?: number): number {
    return this.frames.filter((frame) => frame.type === type && (id === undefined || frame.id === id)).length;
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }

  #onData(chunk: Buffer): void {
    this.bytesRead += chunk.length;
    let bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    while (bytes.length >= 9 && bytes.length >= 9 + bytes.readUIntBE(0, 3)) {
      const end = 9 + bytes.readUIntBE(0, 3);
      this.#onFrame({
        type: bytes[3] as number,
        flags: bytes[4] as number,
        id: bytes.readUInt32BE(5),
        payload: bytes.subarray(9, end),
      });
      bytes = bytes.subarray(end);
    }
    this.#rest = bytes;
    this.#wake();
  }

  #onFrame(frame: Frame): void {
    this.frames.push(frame);
    const { type, flags, id, payload } = frame;
    if (this.#block && type !== Type.CONTINUATION) throw new Error('a header block was broken off');
    if (type === Type.SETTINGS && flags & Flag.ACK) this.acknowledged += 1;
    else if (type === Type.SETTINGS && (this.#options.acknowledges ?? true)) this.send(settingsAck());
    else if (type === Type.HEADERS)
      this.#onBlock(id, (flags & Flag.END_STREAM) !== 0, [payload], (flags & Flag.END_HEADERS) !== 0);
    else if (type === Type.CONTINUATION) {
      if (!this.#block || this.#block.id !== id) throw new Error('CONTINUATION of nothing');
      const { ends, parts } = this.#block;
      this.#onBlock(id, ends, [...parts, payload], (flags & Flag.END_HEADERS) !== 0);
    } else if (type === Type.DATA) this.#onBody(id, payload, (flags & Flag.END_STREAM) !== 0);
    else if (type === Type.RST_STREAM) this.answer(id).reset = payload.readUInt32BE(0);
    else if (type === Type.GOAWAY)
      this.goAway = {
        lastId: payload.readUInt32BE(0),
        code: payload.readUInt32BE(4),
        reason: payload.toString('latin1', 8),
      };
  }

  #onBlock(id: number, ends: boolean, parts: Buffer[], isWhole: boolean): void {
    this.#block = isWhole ? undefined : { id, ends, parts };
    if (!isWhole) return;
    const block = Buffer.concat(parts);
    const { list } = this.#decoder.decode(block, 0, block.length, 2 ** 24);
    const answer = this.answer(id);
    const fields = answer.fields.length === 0 ? answer.fields : answer.trailers;
    for (let at = 0; at < list.length; at += 2) fields.push([list[at] as string, list[at + 1] as string]);
    answer.isEnded ||= ends;
  }

  #onBody(id: number, payload: Buffer, ends: boolean): void {
    const answer = this.answer(id);
    if (answer.isOver) throw new Error(`DATA on stream ${id}, which is over`);
    answer.add(payload);
    answer.isEnded = ends;
    const { takes } = this.#options;
    if (takes === undefined || payload.length === 0) return;
    this.#open(0, payload.length, takes);
    if (!ends) this.#open(id, payload.length, takes);
  }

  #open(id: number, bytes: number, takes: number): void {
    const owed = (this.#owed.get(id) ?? 0) + bytes;
    this.#owed.set(id, owed < takes ? owed : 0);
    if (owed >= takes) this.send(windowUpdate(id, owed));
  }

  #wake(): void {
    for (const check of this.#checks) check();
  }
}
