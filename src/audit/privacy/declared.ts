import { z } from 'zod';
import { isOfInput, unsealable } from './members.ts';
import { isWithin, type Pointer, parsePointer } from './pointer.ts';

/** Each is looked for in each record. */
const MOST_SEALED = 32;

const path = z.string().superRefine((text, context) => {
  const problem = unsealable(text);
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
});

const about = z
  .string()
  .refine(
    (text) => ['subject', 'actor', 'resource'].includes(text) || isOfInput(parsePointer(text) ?? []),
    'subject, actor, resource, or a JSON Pointer to a member of the input that names a principal',
  );

/** `audit` in tenant.yaml: for how long records are kept, and what of them is nobody's business without a key. */
export const auditDeclared = z
  .strictObject({
    /** For how long, and how much; left out: as the operator has it. */
    retention: z
      .strictObject({
        days: z.int().min(1).max(36_500).optional(),
        mib: z.int().min(1).optional(),
      })
      .optional(),
    sealed: z
      .array(
        z.strictObject({
          /** Of the input. */
          path,
          /** Whose it is: `subject`, `actor`, `resource`, or a member that holds `class:id` or `{class, id}`. */
          about: about.default('subject'),
        }),
      )
      .max(MOST_SEALED)
      .superRefine((sealed, context) => {
        for (const { at, member, problem } of conflicts(sealed))
          context.addIssue({ code: 'custom', path: [at, member], message: problem });
      })
      .default([]),
  })
  .prefault({});

export type SealedMember = z.infer<typeof auditDeclared>['sealed'][number];

interface Conflict {
  readonly at: number;
  readonly member: keyof SealedMember;
  readonly problem: string;
}

/** A sealed member lies in no other, and what says whose it is stands in the open. */
function* conflicts(sealed: readonly SealedMember[]): Generator<Conflict> {
  const pointers = sealed.map(({ path: text }) => parsePointer(text) ?? []);
  for (const [at, { path: text, about: whose }] of sealed.entries()) {
    const pointer = pointers[at] ?? [];
    if (pointer.length === 0) continue;
    const outer = pointers.findIndex((other, place) => place !== at && lies(pointer, other));
    if (outer >= 0)
      yield { at, member: 'path', problem: `${text} is sealed with ${sealed[outer]?.path} already` };
    const named = parsePointer(whose);
    if (named && pointers.some((other) => other.length > 0 && (lies(named, other) || lies(other, named))))
      yield { at, member: 'about', problem: `${whose} is sealed itself, and the record would tell it` };
  }
}

const lies = (inner: Pointer, outer: Pointer): boolean => outer.length > 0 && isWithin(inner, outer);
