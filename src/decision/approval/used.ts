import type { ApprovalUse } from '../../storage/approvals/commands.ts';
import type { Decided } from '../decide.ts';
import type { Presented } from './presented.ts';

/**
 * Decides with an approval that is presented, and uses it with the record, in one commit. What another one used meanwhile
 * is decided anew, and so is what turns out to be of no use: then without it. Each round fewer uses are left, so there is
 * an end.
 */
export async function decidedWith<T extends { readonly decided: Decided }>(steps: {
  /** How it stands now. */
  readonly present: () => Promise<Presented>;
  readonly judge: (seen: Presented) => T;
  /** Answers where the record stands; undefined where the approval may not be used any more, and then nothing was done. */
  readonly use: (use: ApprovalUse, judged: T) => Promise<number | undefined>;
}): Promise<T & { readonly index?: number | undefined }> {
  let before = Number.POSITIVE_INFINITY;
  for (;;) {
    const presented = await steps.present();
    const isLost = 'held' in presented && presented.use.usesLeft >= before;
    const seen: Presented = isLost ? { why: 'approval_expired' } : presented;
    const judged = steps.judge(seen);
    if (!('held' in seen) || judged.decided.outcome !== 'allow') return judged;
    const index = await steps.use(seen.use, judged);
    if (index !== undefined) return { ...judged, index };
    before = seen.use.usesLeft;
  }
}
