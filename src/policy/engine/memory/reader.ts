import { Abort } from '../failure.ts';
import type { Heap } from '../heap.ts';
import { kind } from './layout.ts';

/** Finds what a module decided. Its allocator aligns nothing, so by bytes, not by words. */

/** The address of the value in a result set, which is a set of one object of one member; 0 if the set is empty. */
export function resultIn({ view }: Heap, set: number): number {
  const member = onlyMember(view, set, kind.set);
  if (member === 0) return 0;
  const result = onlyMember(view, view.readUInt32LE(member), kind.object);
  if (result === 0) throw unknownShape();
  return view.readUInt32LE(result + 4);
}

/** The one member of a set or an object; 0 if it is empty. */
function onlyMember(view: Buffer, map: number, wanted: number): number {
  const length = view.readUInt32LE(map + 12);
  if (view[map] !== wanted || length > 1) throw unknownShape();
  if (length === 0) return 0;
  let bucket = view.readUInt32LE(map + 4);
  for (;;) {
    const member = view.readUInt32LE(bucket);
    if (member !== 0) return member;
    bucket += 4;
  }
}

const unknownShape = (): Abort => new Abort('the result set has an unknown shape');

/** What most policies decide: the only texts that need not be made of bytes. */
const usual = ['allow', 'deny'].map((text) => ({ text, bytes: Buffer.from(text) }));

export function readText(view: Buffer, start: number, length: number): string {
  for (const { text, bytes } of usual) {
    if (bytes.length !== length) continue;
    let at = 0;
    while (at < length && bytes[at] === view[start + at]) at += 1;
    if (at === length) return text;
  }
  return view.toString('utf8', start, start + length);
}
