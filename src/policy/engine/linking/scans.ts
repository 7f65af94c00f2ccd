import type { ModuleEditor } from '../binary/editor.ts';
import {
  add,
  body,
  both,
  branch,
  type Code,
  call,
  choose,
  constant,
  either,
  equal,
  get,
  greaterUnsigned,
  isZero,
  lessUnsigned,
  load,
  loadByte,
  multiply,
  returns,
  select,
  set,
  store,
  subtract,
  tee,
  unreachable,
  when,
} from '../binary/instructions.ts';
import { MalformedModule, type Reader } from '../binary/leb128.ts';
import { opcode } from '../binary/opcodes.ts';
import { inPlace, kind, mapLength, memberBytes, pairBytes } from '../memory/layout.ts';
import { prefix } from './prefix.ts';
import { addSorted } from './sorting.ts';

/**
 * OPA's evaluator visits sets and objects in the order of their members; the runtime visits them as they are hashed.
 * Each scan of a policy is given a cursor of its own instead of the runtime's iteration: the members (address of the
 * key, address of the value) in an array that is sorted when the scan begins, and closed by a key of 0. The elements of
 * an array stand like that already. It is also less work: the runtime hashes the last key to find the next, and the
 * key once more to find its value.
 */

/** What of a loop is replaced: which locals hold what is visited, the key and the value. */
export interface Scan {
  readonly source: number;
  readonly key: number;
  readonly value: number;
}

/**
 * Reads what OPA's compiler writes at the head of each loop (compileScanBlock in internal/compiler/wasm/wasm.go).
 * @throws MalformedModule for anything else
 */
export function readScan(code: Reader, iterate: number, find: number): Scan {
  const expect = (operation: number, immediate?: number): number => {
    if (code.byte() !== operation) throw unknownScan(code.at);
    if (operation === isZero[0]) return 0;
    const found = code.u32();
    if (immediate !== undefined && found !== immediate) throw unknownScan(code.at);
    return found;
  };
  const [getLocal, setLocal, teeLocal, branchWhen] = [0x20, 0x21, 0x22, 0x0d];
  const source = expect(getLocal);
  const key = expect(getLocal);
  expect(opcode.call, iterate);
  expect(teeLocal, key);
  expect(isZero[0] as number);
  expect(branchWhen, 1);
  expect(getLocal, source);
  expect(getLocal, key);
  expect(opcode.call, find);
  return { source, key, value: expect(setLocal) };
}

const unknownScan = (at: number): MalformedModule =>
  new MalformedModule(`a loop of an unknown shape at ${at}`);

/** Stands in a loop in a block, and leaves both at the end, where the key is 0 as it was left by the original. */
export const headOf = ({ source, key, value }: Scan, cursor: number, next: number): Code[] => [
  get(source),
  get(key),
  get(cursor),
  call(next),
  tee(cursor),
  isZero,
  when(constant(0), set(key), branch(2)),
  get(cursor),
  load(),
  set(key),
  get(cursor),
  load(4),
  set(value),
];

/** Where an array has its elements and how many, and an object or a set its buckets. */
const contents = 4;
const arrayLength = 8;
/** Before its first bucket an object or a set has a word for where its members stand in order, and 0 until they do. */
const cell: Code = [...load(contents), ...constant(4), ...subtract];

/** `next(source, last key or 0, cursor)`: the cursor at the first or the next member, 0 behind the last. */
export function addNext(editor: ModuleEditor): number {
  const [source, key, cursor, type, base, length, stride] = [0, 1, 2, 3, 4, 5, 6];
  const sorted = addSorted(editor);
  const none: Code = [...constant(0), ...returns];
  const unlessCollection: Code[] = [
    get(source),
    isZero,
    when(none),
    get(source),
    loadByte(),
    tee(type),
    constant(kind.array),
    lessUnsigned,
    get(type),
    constant(kind.set),
    greaterUnsigned,
    either,
    when(none),
  ];
  const ofArray: Code[] = [get(source), load(arrayLength), set(length), get(source), load(contents)];
  const ofMap: Code[] = [
    get(source),
    load(mapLength),
    tee(length),
    isZero,
    when(none),
    get(source),
    cell,
    load(),
    tee(base),
    isZero,
    when(
      // Nothing is put into what is being visited; if it were, the cursor would be of another order.
      get(key),
      when(unreachable),
      get(source),
      cell,
      get(source),
      get(type),
      call(sorted),
      tee(base),
      store(),
    ),
    // Members of the data are in order themselves, and an object's have one word more; the lowest bit says so.
    get(base),
    constant(inPlace),
    both,
    get(type),
    constant(kind.object),
    equal,
    both,
    when(constant(memberBytes), set(stride)),
    get(base),
    get(base),
    constant(inPlace),
    both,
    subtract,
  ];
  return editor.addFunction(
    { parameters: 3 },
    body(
      4,
      ...unlessCollection,
      constant(pairBytes),
      set(stride),
      get(type),
      constant(kind.array),
      equal,
      choose(ofArray, ofMap),
      tee(base),
      get(cursor),
      get(stride),
      add,
      get(key),
      isZero,
      select,
      tee(cursor),
      get(base),
      get(length),
      get(stride),
      multiply,
      add,
      equal,
      when(none),
      get(cursor),
    ),
  );
}

/** Has what puts a member into an object or a set forget in which order the members were. */
export function forgetOrder(editor: ModuleEditor): void {
  for (const name of ['__opa_object_insert', 'opa_object_insert', 'opa_object_remove', 'opa_set_add'])
    prefix(editor, name, [get(0), cell, constant(0), store()]);
}
