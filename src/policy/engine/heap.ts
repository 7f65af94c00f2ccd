import type { WasmMemory } from './webassembly.ts';

/** A WebAssembly memory. Its buffer is replaced when it grows, so a view is never kept across a call of the module. */
export class Heap {
  readonly memory: WasmMemory;
  #view: Buffer;
  #words: Int32Array;

  constructor(memory: WasmMemory) {
    this.memory = memory;
    this.#view = Buffer.from(memory.buffer);
    this.#words = new Int32Array(memory.buffer);
  }

  get size(): number {
    return this.view.length;
  }

  get view(): Buffer {
    // A view of a buffer that was replaced has no length left.
    if (this.#view.length === 0) this.#view = Buffer.from(this.memory.buffer);
    return this.#view;
  }

  /** The memory in words of 32 bits, by an address divided by four. */
  get words(): Int32Array {
    if (this.#words.length === 0) this.#words = new Int32Array(this.memory.buffer);
    return this.#words;
  }

  /** The text up to the next NUL byte. */
  text(address: number): string {
    const view = this.view;
    const end = view.indexOf(0, address);
    return view.toString('utf8', address, end < 0 ? view.length : end);
  }

  /** Whether `address` is free up to `size` bytes behind it. */
  fits(address: number, size: number): boolean {
    return address + size <= this.view.length;
  }

  /** Writes text as UTF-8 or bytes as they are; the caller has made room. Returns the number of bytes. */
  write(content: string | Uint8Array, address: number): number {
    if (typeof content === 'string') return this.view.write(content, address, 'utf8');
    this.view.set(content, address);
    return content.length;
  }
}

/** The number of bytes of a text in UTF-8. */
export function byteLength(content: string | Uint8Array): number {
  return typeof content === 'string' ? Buffer.byteLength(content, 'utf8') : content.length;
}
