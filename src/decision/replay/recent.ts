import { readParsed } from '../../audit/read.ts';
import { wholeIn } from '../../audit/whole.ts';
import type { PartStore } from '../../storage/log/parts.ts';
import type { RecordStore } from '../../storage/log/records.ts';
import type { TenantNo } from '../../storage/rows.ts';
import { entryPointOf, isPlatforms } from './change.ts';

/** How many records are looked at for questions that can be asked again. */
const LOOKED_AT = 200;

/** The newest questions of a tenant's log, as they were asked of its policy. */
export function recentQuestions(
  { records, parts }: { readonly records: RecordStore; readonly parts: PartStore },
  no: TenantNo,
  most: number,
): { index: number; entryPoint: string; input: string; nowMs: number; seed: string }[] {
  const size = records.size(no);
  const found = records.range(no, Math.max(0, size - LOOKED_AT), LOOKED_AT).flatMap((stored) => {
    const parsed = JSON.parse(utf8.decode(stored.body)) as { challenge?: unknown };
    const record = readParsed(stored, parsed);
    const entryPoint = entryPointOf({ ...record, challenge: parsed.challenge });
    const input = entryPoint && wholeIn(parsed, (digest) => parts.find(no, digest));
    if (!entryPoint || !input || !isPlatforms(input)) return [];
    return [
      {
        index: record.index,
        entryPoint,
        input: JSON.stringify(input),
        nowMs: record.time,
        seed: record.decisionId,
      },
    ];
  });
  return found.slice(-most);
}

const utf8 = new TextDecoder();
