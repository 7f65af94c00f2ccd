import { ModuleEditor } from '../binary/editor.ts';
import {
  body,
  type Code,
  call,
  constant,
  get,
  globalGet,
  lessUnsigned,
  loadByte,
  notEqual,
  returns,
  when,
} from '../binary/instructions.ts';
import { refuseMalformed } from '../binary/leb128.ts';
import { kind } from '../memory/layout.ts';
import { firstRouted, routed, routes } from './calls.ts';
import { linkArithmetic, linkComparison } from './numbers.ts';
import { linkPolicy } from './policy.ts';
import { prefix } from './prefix.ts';
import { forgetOrder } from './scans.ts';

/** The exported mutable i32 global: what lies below this address is never given back to the allocator. */
export const floorExport = 'mandate_floor';

/**
 * Makes of OPA's module one that decides as OPA's evaluator does: built-ins are the host's, sets and objects are
 * visited in order, numbers compare as they do there. And one whose evaluations do not change each other: a built-in
 * of the runtime that frees what it does not own (a constant of the module, a part of the data or of the input) frees
 * nothing.
 * @throws ServiceError `policy_invalid` if it is not a module of OPA's compiler, names included
 */
export function link(wasm: Uint8Array): Uint8Array {
  return refuseMalformed(() => {
    const editor = new ModuleEditor(wasm);
    linkBuiltins(editor);
    linkComparison(editor);
    linkPolicy(editor);
    forgetOrder(editor);
    linkCopies(editor);
    protect(editor);
    return editor.finish();
  });
}

function linkBuiltins(editor: ModuleEditor): void {
  const callOf = (native: string, parameters: number): Code => [
    ...constant(firstRouted + routed.indexOf(routes[native] as string)),
    ...constant(0),
    ...Array.from({ length: parameters }, (_, local) => get(local)).flat(),
    ...call(editor.index(`opa_builtin${parameters}`)),
  ];
  for (const native of Object.keys(routes)) {
    const index = editor.find(native);
    const signature = index === undefined ? undefined : editor.signatureOf(index);
    if (index !== undefined && signature)
      editor.replace(index, body(0, callOf(native, signature.parameters)));
  }
  linkArithmetic(editor, callOf);
}

function protect(editor: ModuleEditor): void {
  const floor = editor.addGlobal(floorExport, 0);
  const isBelow: Code[] = [get(0), globalGet(floor), lessUnsigned];
  for (const name of ['opa_free', 'opa_free_bulk']) prefix(editor, name, [...isBelow, when(returns)]);
}

/**
 * `with input.x as …` writes into a copy of the input, and the runtime copies what is no object as it is, and then
 * writes into it as if it were one. OPA's evaluator puts an object in its place.
 */
function linkCopies(editor: ModuleEditor): void {
  const isOther: Code[] = [get(0), loadByte(), constant(kind.object), notEqual];
  prefix(editor, 'opa_value_shallow_copy', [...isOther, when(call(editor.index('opa_object')), returns)]);
}
