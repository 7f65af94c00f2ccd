import { ServiceError } from '../../errors.ts';
import type { PolicyInput } from '../../input.ts';
import type { Abi } from './abi.ts';
import type { Heap } from './heap.ts';
import { imageOf, imageOfOutline } from './memory/drawing.ts';
import { align, reserve } from './memory/room.ts';
import { ValueWriter } from './memory/writer.ts';
import { parseExact } from './values/exact.ts';
import type { WasmGlobal } from './webassembly.ts';

/**
 * Fuel units per character of an input. Writing takes the host ten nanoseconds a character, and 25 at worst (names that
 * are all new): the fuel bounds that time to about a nanosecond a unit.
 */
const fuelPerCharacter = 32;

/** Of a budget, in characters that cost it: some 5,000 of the usual one; and what is little however small it is. */
const dearShare = 128;
const alwaysCheap = 4_096;

/**
 * Whether an input is so large that going through it may take more than a policy reckons with: then it is not the
 * policy's fault that the budget was not enough.
 */
export function isDear(input: PolicyInput | string, budget: number): boolean {
  const { length } = typeof input === 'string' ? input : input.json;
  return length > Math.max(alwaysCheap, budget / (fuelPerCharacter * dearShare));
}

/** Brings inputs into the memory of one instance, each in the place of the one before. */
export class Inputs {
  readonly #abi: Abi;
  readonly #fuel: WasmGlobal;
  /** Where inputs begin, at a multiple of eight. */
  readonly #start: number;
  readonly #writer: ValueWriter;

  constructor(abi: Abi, heap: Heap, fuel: WasmGlobal, start: number) {
    this.#abi = abi;
    this.#fuel = fuel;
    this.#start = start;
    this.#writer = new ValueWriter(heap, (address, size) => reserve(abi, address, size), {
      ofLasting: imageOf,
      ofOutline: imageOfOutline,
    });
  }

  /**
   * The address of the value, behind which the module's heap begins; 0 for an empty text, which is an undefined input.
   * @param budget units of fuel: what is left of them is in the module's global afterwards
   * @throws ServiceError `invalid_request` for a text that is neither JSON nor a Rego value
   */
  place(input: PolicyInput | string, budget: number): number {
    const json = typeof input === 'string' ? input : input.json;
    const cost = json.length * fuelPerCharacter;
    if (json === '') return this.#begin(0, this.#start, budget);
    const value = typeof input === 'string' ? parseExact(input) : input.value;
    this.#fuel.value = 2 ** 31 - 1;
    const address = this.#writer.write(value, this.#start);
    return this.#begin(address, this.#writer.end, budget - cost);
  }

  /**
   * An input may cost half of the budget at most, so that what a caller sends cannot make the policy look like one that
   * runs out of fuel. Throws `payload_too_large` before anything is written.
   */
  admit(input: PolicyInput | string, budget: number): void {
    const { length } = typeof input === 'string' ? input : input.json;
    if (length * fuelPerCharacter * 2 > budget)
      throw new ServiceError(
        'payload_too_large',
        "The input is larger than half of the evaluation's budget pays for.",
      );
  }

  /** Forgets what it learnt of inputs. */
  forget(): void {
    this.#writer.forget();
  }

  /** The memory that an input takes is paid for with it, and not again where it has to grow. */
  #begin(address: number, end: number, left: number): number {
    this.#fuel.value = left;
    this.#abi.opa_heap_ptr_set(align(end));
    return address;
  }
}
