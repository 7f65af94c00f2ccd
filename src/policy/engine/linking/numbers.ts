import type { ModuleEditor } from '../binary/editor.ts';
import {
  addLong,
  body,
  both,
  type Code,
  call,
  choose,
  constant,
  either,
  equal,
  equalLong,
  extended,
  get,
  greaterLong,
  greaterUnsigned,
  lessLong,
  load,
  loadLong,
  loadTwoBytes,
  lowerHalf,
  multiplyLong,
  notEqual,
  returns,
  subtract,
  subtractLong,
  when,
} from '../binary/instructions.ts';
import { kind, mapLength, numberForm } from '../memory/layout.ts';
import { service } from './calls.ts';
import { prefix } from './prefix.ts';

/** Above this many members the host compares objects and sets. */
const mostCompared = 128;

/** The first two bytes of a number that is an integer in place. */
const integer = kind.number | (numberForm.integer << 8);
const valueOf = (local: number): Code => [...get(local), ...loadLong(8)];
const isInteger = (local: number): Code => [...get(local), ...loadTwoBytes(), ...constant(integer), ...equal];

const remainderLong: Code = [0x81];
const isZeroLong: Code = [0x50];

/** What is calculated in place where both are integers of 32 bits, so that nothing overflows; else by the host. */
const operations: Readonly<Record<string, Code>> = {
  opa_arith_plus: addLong,
  opa_arith_minus: subtractLong,
  opa_arith_multiply: multiplyLong,
  opa_arith_rem: remainderLong,
};

/** Replaces the runtime's arithmetic by one for small integers and calls of the host for all else. */
export function linkArithmetic(
  editor: ModuleEditor,
  callOf: (native: string, parameters: number) => Code,
): void {
  let isSmall: number | undefined;
  for (const [native, operation] of Object.entries(operations)) {
    const index = editor.find(native);
    if (index === undefined) continue;
    isSmall ??= editor.addFunction({ parameters: 1 }, smallInteger());
    const makeNumber = call(editor.index('opa_number_int'));
    const areSmall: Code[] = [get(0), call(isSmall), get(1), call(isSmall), both];
    if (operation === remainderLong) areSmall.push(isInteger(1), valueOf(1), isZeroLong, [0x45], both, both);
    editor.replace(
      index,
      body(0, ...areSmall, choose([valueOf(0), valueOf(1), operation, makeNumber], [callOf(native, 2)])),
    );
  }
}

function smallInteger(): Uint8Array {
  const isShort: Code[] = [valueOf(0), valueOf(0), lowerHalf, extended, equalLong];
  return body(0, isInteger(0), choose(isShort, [constant(0)]));
}

/**
 * Integers in place are compared and hashed in the module. Whatever is written as text (fractions, exponents, large
 * integers) is the host's, which compares as OPA does; the runtime's decimals are another arithmetic, and it reads the
 * lower half alone of an integer in place once the other is a text.
 */
export function linkComparison(editor: ModuleEditor): void {
  const ask = (id: number, parameters: number): Code[] => [
    constant(id),
    constant(0),
    ...Array.from({ length: parameters }, (_, local) => get(local)),
    call(editor.index(`opa_builtin${parameters}`)),
  ];
  editor.replace(
    editor.index('opa_value_compare_number'),
    body(
      0,
      isInteger(0),
      isInteger(1),
      both,
      choose(
        [valueOf(0), valueOf(1), greaterLong, valueOf(0), valueOf(1), lessLong, subtract],
        ask(service.compareNumbers, 2),
      ),
    ),
  );
  const isText: Code[] = [get(0), loadTwoBytes(), constant(integer), notEqual];
  prefix(editor, 'opa_number_hash', [...isText, when(...ask(service.hashNumber, 1), returns)]);
  // The runtime sorts the members of both by insertion, which takes the square of them.
  const isLarge = (local: number): Code[] => [
    get(local),
    load(mapLength),
    constant(mostCompared),
    greaterUnsigned,
  ];
  for (const name of ['opa_value_compare_object', 'opa_value_compare_set'])
    prefix(editor, name, [
      ...isLarge(0),
      ...isLarge(1),
      either,
      when(...ask(service.compareCollections, 2), returns),
    ]);
  // An index such as 1.0 or 1e0 is one as well.
  const isArray: Code[] = [get(0), [0x2d, 0, 0], constant(kind.array), equal];
  const byText: Code[] = [
    get(1),
    loadTwoBytes(),
    constant(kind.number | (numberForm.text << 8)),
    equal,
    both,
  ];
  prefix(editor, 'opa_value_get', [...isArray, ...byText, when(...ask(service.element, 2), returns)]);
}
