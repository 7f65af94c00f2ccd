import type { Abi } from '../abi.ts';

/** To eight bytes, where no load or store of the module straddles two cache lines without need. */
export function align(address: number): number {
  return (address + 7) & ~7;
}

/**
 * Lets the module's own allocator grow the memory to hold `size` bytes from an address on. It keeps its own idea of the
 * top of the heap, and if the host grew the memory instead, each later allocation would grow it again until that idea
 * had caught up.
 */
export function reserve(abi: Abi, address: number, size: number): void {
  abi.opa_heap_ptr_set(address);
  abi.opa_malloc(size);
}
