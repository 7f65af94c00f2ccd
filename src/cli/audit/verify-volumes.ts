import type { Verdict } from '../../audit/proof/verification.ts';
import { describe } from '../../errors.ts';
import { parseCheckpoint } from '../../merkle/checkpoint.ts';
import { type Policy, refusalOf } from '../../merkle/policy.ts';
import { VolumeFile } from '../../storage/volume/file.ts';
import { provenVolume } from '../../storage/volume/making.ts';
import { Progress } from '../terminal/progress.ts';

export const VOLUME_SUFFIX = '.jsonl.zst';

interface Found {
  readonly first: number;
  readonly end: number;
  readonly fault: string | undefined;
}

/** Verifies volumes, each by itself; of each log it tells which records are in none of them. */
export function volumesIn(files: readonly string[], policy: Policy): Verdict[] {
  using progress = new Progress('entries');
  const logs = new Map<string, Found[]>();
  const verdicts: Verdict[] = [];
  let done = 0;
  for (const name of files)
    try {
      using file = new VolumeFile(name);
      const { origin, first, end } = file.index;
      const fault = faultIn(file, policy, (count) => progress.tell(done + count, done + end - first));
      logs.set(origin, [...(logs.get(origin) ?? []), { first, end, fault: fault && `${name}: ${fault}` }]);
      done += end - first;
    } catch (error) {
      const fault = `it cannot be read: ${describe(error)}`;
      verdicts.push({ origin: name, entries: 0, proved: 0, faults: [fault], notes: [] });
    }
  return [...verdicts, ...[...logs].map(([origin, found]) => verdictOf(origin, found, policy))];
}

function faultIn(file: VolumeFile, policy: Policy, each: (done: number) => void): string | undefined {
  try {
    provenVolume(file, each);
    return refusalOf({ ...policy, quorum: undefined }, parseCheckpoint(file.index.checkpoint));
  } catch (error) {
    return describe(error);
  }
}

function verdictOf(origin: string, found: readonly Found[], { quorum }: Policy): Verdict {
  const sorted = found.toSorted((a, b) => a.first - b.first);
  const faults = sorted.flatMap(({ fault }) => fault ?? []);
  const count = ({ first, end }: Found): number => end - first;
  const entries = sorted.reduce((sum, each) => sum + count(each), 0);
  // They sign what a log shows, and a volume's own checkpoint was shown to nobody before.
  const notes = quorum ? ['no witness signs a volume: it is proved by the key of its log alone'] : [];
  let next = 0;
  for (const { first, end } of sorted) {
    if (first > next) notes.push(`records ${next} to ${first - 1} are in none of these volumes`);
    next = Math.max(next, end);
  }
  return { origin, entries, proved: faults.length === 0 ? entries : 0, faults, notes };
}
