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
}
