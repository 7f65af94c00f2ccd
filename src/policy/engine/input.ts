import { ServiceError } from '../../errors.ts';
import type { PolicyInput } from '../../input.ts';
import type { Abi } from './abi.ts';
import { byteLength, type Heap } from './heap.ts';
import { imageOf, imageOfOutline } from './memory/drawing.ts';
import { Unwritable, ValueWriter } from './memory/writer.ts';
import type { WasmGlobal } from './webassembly.ts';

/**
 * Fuel units per character of an input that is not parsed. To the module's parser plain text costs about as much, and
 * the rest three times more. Writing takes the host ten nanoseconds a character, and 25 at worst (names that are all
 * new): the fuel bounds that time to about a nanosecond a unit.
 */
const fuelPerCharacter = 32;

/** Brings inputs into the memory of one instance, each in the place of the one before. */
export class Inputs {
  readonly #abi: Abi;
  readonly #heap: Heap;
  readonly #fuel: WasmGlobal;
  /** Where inputs begin, at a multiple of eight. */
  readonly #start: number;
  readonly #writer: ValueWriter;
  #strayed = false;

  constructor(abi: Abi, heap: Heap, fuel: WasmGlobal, start: number) {
    this.#abi = abi;
    this.#heap = heap;
    this.#fuel = fuel;
    this.#start = start;
    this.#writer = new ValueWriter(heap, (address, size) => this.#reserve(address, size), {
      ofLasting: imageOf,
      ofOutline: imageOfOutline,
    });
  }

  /**
   * The address of the value, behind which the module's heap begins; 0 for an empty text.
   * @param budget units of fuel: what is left of them is in the module's global afterwards
   */
  place(input: PolicyInput | string | Uint8Array, budget: number): number {
    return typeof input === 'string' || input instanceof Uint8Array
      ? this.#parse(input, budget)
      : this.#write(input, budget);
  }

  /**
   * An input may cost half of the budget at most, so that what a caller sends cannot make the policy look like one that
   * runs out of fuel. Throws `payload_too_large` before anything is written.
   */
  admit(input: PolicyInput | string | Uint8Array, budget: number): void {
    const { length } = typeof input === 'string' || input instanceof Uint8Array ? input : input.json;
    if (length * fuelPerCharacter * 2 > budget)
      throw new ServiceError(
        'payload_too_large',
        "The input is larger than half of the evaluation's budget pays for.",
      );
  }

  /** Whether a value was given up half written, and so further up than the heap that began in its place. */
  get strayed(): boolean {
    return this.#strayed;
  }

  /** Forgets what it learnt of inputs. */
  forget(): void {
    this.#writer.forget();
    this.#strayed = false;
  }

  #parse(json: string | Uint8Array, budget: number): number {
    this.#fuel.value = budget;
    // A UTF-16 unit is at most three bytes, so the exact length need not be counted if that much is free.
    if (!this.#heap.fits(this.#start, json.length * 3)) this.#reserve(this.#start, byteLength(json));
    const length = this.#heap.write(json, this.#start);
    this.#abi.opa_heap_ptr_set(align(this.#start + length));
    return this.#abi.opa_value_parse(this.#start, length);
  }

  #write({ json, value }: PolicyInput, budget: number): number {
    const left = budget - json.length * fuelPerCharacter;
    this.#fuel.value = left;
    try {
      const address = this.#writer.write(value, this.#start);
      this.#abi.opa_heap_ptr_set(align(this.#writer.end));
      return address;
    } catch (error) {
      if (!(error instanceof Unwritable)) throw error;
      this.#strayed = true;
      return this.#parse(json, left);
    }
  }

  /**
   * Lets the module's own allocator grow the memory. It keeps its own idea of the top of the heap, and if the host
   * grew the memory instead, each later allocation would grow it again until that idea had caught up.
   */
  #reserve(address: number, size: number): void {
    this.#abi.opa_heap_ptr_set(address);
    this.#abi.opa_malloc(size);
  }
}

/** To eight bytes, where no load or store of the module straddles two cache lines without need. */
export function align(address: number): number {
  return (address + 7) & ~7;
}
