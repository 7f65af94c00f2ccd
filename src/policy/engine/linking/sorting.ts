import type { ModuleEditor } from '../binary/editor.ts';
import {
  add,
  block,
  body,
  branch,
  branchIf,
  type Code,
  call,
  constant,
  drop,
  equal,
  get,
  greaterSigned,
  greaterUnsigned,
  isZero,
  lessUnsigned,
  load,
  loop,
  notEqual,
  returns,
  select,
  set,
  shiftLeft,
  store,
  subtract,
  tee,
  when,
} from '../binary/instructions.ts';
import { kind, pairBytes } from '../memory/layout.ts';
import { service } from './calls.ts';

/** Above this many members the host sorts: an insertion sort would take the square of them. */
const mostInserted = 16;

/** `sorted(object or set, its kind)`: the pairs of its members in the order of their keys. */
export function addSorted(editor: ModuleEditor): number {
  const [source, type, members, end, buckets, lastBucket, member] = [0, 1, 2, 3, 4, 5, 6];
  const fill: Code[] = [
    get(source),
    load(12),
    shiftLeft(3),
    call(editor.index('opa_malloc')),
    tee(members),
    set(end),
    get(source),
    load(4),
    tee(buckets),
    get(source),
    load(8),
    shiftLeft(2),
    add,
    set(lastBucket),
    loop(
      get(buckets),
      load(),
      set(member),
      block(
        loop(
          get(member),
          isZero,
          branchIf(1),
          get(end),
          get(member),
          load(),
          store(),
          get(end),
          // An object's member is key, value, next; a set's is value, next.
          get(member),
          load(4),
          get(member),
          load(),
          get(type),
          constant(kind.object),
          equal,
          select,
          store(4),
          get(end),
          constant(pairBytes),
          add,
          set(end),
          get(member),
          load(8),
          get(member),
          load(4),
          get(type),
          constant(kind.object),
          equal,
          select,
          set(member),
          branch(0),
        ),
      ),
      get(buckets),
      constant(4),
      add,
      tee(buckets),
      get(lastBucket),
      notEqual,
      branchIf(0),
    ),
  ];
  const length: Code = [...get(source), ...load(12)];
  const large: Code[] = [
    length,
    constant(mostInserted),
    greaterUnsigned,
    when(
      constant(service.sortMembers),
      constant(0),
      get(members),
      length,
      call(editor.index('opa_builtin2')),
      drop,
      get(members),
      returns,
    ),
  ];
  return editor.addFunction(
    { parameters: 2 },
    body(5, ...fill, ...large, get(members), get(end), call(addInsertionSort(editor))),
  );
}

/** `sort(first member, end)`: the first member. */
function addInsertionSort(editor: ModuleEditor): number {
  const [members, end, at, place, key, value] = [0, 1, 2, 3, 4, 5];
  const compare = editor.index('opa_value_compare');
  const before: Code = [...get(place), ...constant(pairBytes), ...subtract];
  return editor.addFunction(
    { parameters: 2 },
    body(
      4,
      get(members),
      set(at),
      block(
        loop(
          get(at),
          constant(pairBytes),
          add,
          tee(at),
          get(end),
          lessUnsigned,
          isZero,
          branchIf(1),
          get(at),
          load(),
          set(key),
          get(at),
          load(4),
          set(value),
          get(at),
          set(place),
          block(
            loop(
              get(place),
              get(members),
              equal,
              branchIf(1),
              before,
              load(),
              get(key),
              call(compare),
              constant(0),
              greaterSigned,
              isZero,
              branchIf(1),
              get(place),
              before,
              load(),
              store(),
              get(place),
              before,
              load(4),
              store(4),
              before,
              set(place),
              branch(0),
            ),
          ),
          get(place),
          get(key),
          store(),
          get(place),
          get(value),
          store(4),
          branch(0),
        ),
      ),
      get(members),
    ),
  );
}
