import { MalformedModule, Reader } from './leb128.ts';
import { magic, section } from './sections.ts';

const functionNames = 1;

/**
 * The index of each function by its name, from the custom section `name` (core specification, appendix "Custom
 * Sections"). OPA's compiler always writes it. Of two functions with one name the first counts.
 */
export function readFunctionNames(wasm: Uint8Array): Map<string, number> {
  const names = new Map<string, number>();
  const module = new Reader(wasm, magic.length);
  while (!module.done()) {
    const id = module.byte();
    const body = module.slice(module.u32());
    if (id !== section.custom || body.name() !== 'name') continue;
    while (!body.done()) {
      const kind = body.byte();
      const entries = body.slice(body.u32());
      if (kind !== functionNames) continue;
      for (let count = entries.u32(); count > 0; count -= 1) {
        const index = entries.u32();
        const name = entries.name();
        if (!names.has(name)) names.set(name, index);
      }
      if (!entries.done()) throw new MalformedModule('bytes after the last name');
    }
  }
  return names;
}
