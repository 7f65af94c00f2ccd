import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { inUnits } from '../../../decision/metering/amount.ts';
import type { Recounted } from '../../../decision/metering/recounts.ts';

/** How many differences are told one by one. */
const MOST_TOLD = 1_000;

export const usageMessage = ({ records, differences, partial, applied }: Recounted) => ({
  records: BigInt(records),
  differing: BigInt(differences.length),
  differences: differences.slice(0, MOST_TOLD).map(({ meter, of, since, counted, recorded }) => ({
    meter,
    countedFor: of,
    ...(since > 0 && { since: timestampFromMs(since) }),
    counted: inUnits(counted),
    recorded: inUnits(recorded),
  })),
  partial: [...partial],
  applied: BigInt(applied),
});
