import { type RecordDraft, wholeRecord } from '../record.ts';
import { isMaskable } from './members.ts';
import { holderOf, MAX_POINTER, type Pointer, parsePointer, placeOf, pointerText, put } from './pointer.ts';

/** What a tenant's package `audit` answers, checked. */
export interface Mask {
  readonly operations: readonly Operation[];
  /** `brief`: nothing of the record that may be kept out is in it. */
  readonly detail: 'full' | 'brief';
}

interface Operation {
  readonly pointer: Pointer;
  /** Undefined: it is taken out. */
  readonly upsert: { readonly value: unknown } | undefined;
}

/** Of one record; each is told in it. */
const MOST_OPERATIONS = 64;

/** Undefined for an answer of another shape: nobody can say then what was meant to be kept out. */
export function readMask(result: unknown): Mask | undefined {
  const { mask, detail, malformed } = (result ?? {}) as {
    mask?: unknown;
    detail?: unknown;
    malformed?: unknown;
  };
  if (malformed === true || !Array.isArray(mask) || mask.length > MOST_OPERATIONS) return undefined;
  if (detail !== 'full' && detail !== 'brief') return undefined;
  const operations = mask.map(readOperation).filter((each) => each !== undefined);
  return operations.length === mask.length ? { operations, detail } : undefined;
}

/** A pointer alone, or as OPA's `system.log` has it: `{"op": "remove" | "upsert", "path", "value"}`. */
function readOperation(each: unknown): Operation | undefined {
  const whole =
    typeof each === 'string' ? { op: 'remove', path: each } : (each as Record<string, unknown> | null);
  const { op, path, value, ...rest } = whole ?? {};
  const pointer = typeof path === 'string' ? parsePointer(path) : undefined;
  if (!pointer || Object.keys(rest).length > 0) return undefined;
  if (op === 'remove') return value === undefined ? { pointer, upsert: undefined } : undefined;
  return op === 'upsert' && value !== undefined ? { pointer, upsert: { value } } : undefined;
}

/** A record on its way, as JSON. */
type Body = Record<string, unknown> & { input?: unknown; masked?: readonly string[] };

/** The draft of the record with that kept out. What may not be kept out stays, and the record says that it was asked for. */
export function masked(draft: RecordDraft, { operations, detail }: Mask): RecordDraft {
  const body = JSON.parse(wholeRecord(draft)) as Body;
  // Some may have been kept out before.
  const [done, refused] = [new Set<string>(body.masked), new Set<string>()];
  for (const { pointer, upsert } of operations)
    if (!mayGo(body, pointer)) refused.add(pointerText(pointer));
    else if (apply(body, pointer, upsert)) done.add(pointerText(pointer));
  const lists = { ...listed('masked', done), ...listed('mask_refused', refused) };
  if (detail === 'full') return drafted(draft, { ...body, ...lists });
  return drafted(draft, { ...withoutDetail(body), detail_level: 'brief', ...lists });
}

/** The same where nobody can say what was to be kept out: all that may be is. `why` is a code. */
export const maskFailed = (draft: RecordDraft, why: string): RecordDraft =>
  drafted(draft, { ...withoutDetail(JSON.parse(wholeRecord(draft)) as Body), mask_failed: why });

const listed = (name: string, paths: ReadonlySet<string>): object =>
  paths.size === 0 ? {} : { [name]: [...paths].map((path) => path.slice(0, MAX_POINTER)) };

/** What is below the input, but for what names it; what authors said of their reasons, and what they asked for first. */
function mayGo({ reasons }: Body, [root, ...rest]: Pointer): boolean {
  if (root === 'input') return isMaskable(rest);
  if (root === 'challenge') return true;
  const [at = '', member] = rest;
  return (
    root === 'reasons' && rest.length === 2 && member === 'message' && placeOf(reasons, [at]) !== undefined
  );
}

/** Answers whether there was anything to do. */
function apply(body: Body, pointer: Pointer, upsert: Operation['upsert']): boolean {
  const isMessage = pointer[0] === 'reasons';
  const place = placeOf(body, pointer);
  if (upsert === undefined || !mayStand(pointer, upsert.value)) {
    if (isMessage) place?.replace('');
    else place?.remove();
    return place !== undefined;
  }
  const holder = holderOf(body, pointer);
  // An array has no items but its own.
  if (!holder || (Array.isArray(holder) && !place)) return false;
  put(holder, pointer.at(-1) ?? '', upsert.value);
  return true;
}

/** A message is a text, and the context an object: what is to stand there instead, and cannot, is but taken out. */
function mayStand(pointer: Pointer, value: unknown): boolean {
  if (pointer[0] === 'reasons') return typeof value === 'string';
  const isContext = pointer.length === 2 && pointer[1] === 'context';
  return !isContext || (typeof value === 'object' && value !== null && !Array.isArray(value));
}

/** Of an input and its principals, what may be kept out whole. */
const DETAIL = ['properties', 'groups', 'roles'];

function withoutDetail(body: Body): Body {
  const input = { ...(body.input as Record<string, unknown>) };
  const bare = (one: unknown): unknown =>
    typeof one === 'object' && one !== null
      ? Object.fromEntries(Object.entries(one).filter(([name]) => !DETAIL.includes(name)))
      : one;
  for (const name of ['subject', 'action', 'resource']) if (name in input) input[name] = bare(input[name]);
  if (Array.isArray(input['actors'])) input['actors'] = input['actors'].map(bare);
  if (typeof input['grant'] === 'object' && input['grant'] !== null) {
    const { authorization_details: _details, ...grant } = input['grant'] as Record<string, unknown>;
    input['grant'] = grant;
  }
  const { context: _context, data_input: _data, ...kept } = input;
  const { sealed: _sealed, challenge: _challenge, ...rest } = body;
  const reasons = body['reasons'] as readonly { readonly code: string }[] | undefined;
  return {
    ...rest,
    ...(reasons ? { reasons: reasons.map(({ code }) => ({ code, message: '' })) } : {}),
    input: kept,
  };
}

/** The draft that this record is made from; boxes that are no longer there are not told of. */
function drafted(draft: RecordDraft, body: Body): RecordDraft {
  const { v: _v, kind: _k, time: _t, decision_id: _d, outcome: _o, caller: _c, input, ...members } = body;
  const { sealed, ...others } = members as { sealed?: readonly string[] };
  const left = sealed?.filter((path) => hasBox(input, path)) ?? [];
  const all = left.length === 0 ? others : { sealed: left, ...others };
  return { ...draft, members: `,${JSON.stringify(all).slice(1, -1)}`, input: JSON.stringify(input) };
}

const hasBox = (input: unknown, path: string): boolean => {
  const value = placeOf(input, parsePointer(path) ?? [])?.value;
  return typeof value === 'object' && value !== null && Object.hasOwn(value, 'sealed');
};

/** The draft without what stands at these places, which the record says. */
export const withoutParts = (draft: RecordDraft, pointers: readonly string[]): RecordDraft => {
  const mask = pointers.length === 0 ? undefined : readMask({ mask: [...pointers], detail: 'full' });
  return mask ? masked(draft, mask) : draft;
};
