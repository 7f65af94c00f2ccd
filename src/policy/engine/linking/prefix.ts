import type { ModuleEditor } from '../binary/editor.ts';
import type { Code } from '../binary/instructions.ts';
import { Reader } from '../binary/leb128.ts';
import { concat } from '../binary/sections.ts';

/**
 * Has a function run something else first; nothing may be left on the stack. The compiler takes away what a policy
 * does not use, and the names of it.
 */
export function prefix(editor: ModuleEditor, name: string, code: readonly Code[]): void {
  const index = editor.find(name);
  if (index === undefined) return;
  const original = editor.bodyOf(index);
  const locals = new Reader(original);
  for (let groups = locals.u32(); groups > 0; groups -= 1) {
    locals.u32();
    locals.byte();
  }
  editor.replace(
    index,
    concat([original.subarray(0, locals.at), Uint8Array.from(code.flat()), original.subarray(locals.at)]),
  );
}
