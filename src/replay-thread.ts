import { parentPort, workerData } from 'node:worker_threads';
import type { FromReplay, ReplayTask } from './decision/replay/replays.ts';
import { replay } from './decision/replay/run.ts';
import { Tally } from './decision/replay/tally.ts';
import { describe } from './errors.ts';
import { SoloPolicy } from './policy/solo.ts';
import { partStore } from './storage/log/parts.ts';
import { recordStore } from './storage/log/records.ts';
import { openReader } from './storage/reader.ts';

/** The composition root of a thread that replays what was recorded: it reads the store, and writes nothing. */
if (parentPort) {
  const port = parentPort;
  const say = (message: FromReplay): void => port.postMessage(message);
  const { folder, candidate, base, limits, selection } = workerData as ReplayTask;
  try {
    const reader = openReader(folder);
    const parts = {
      records: recordStore(reader),
      parts: partStore(reader),
      candidate: new SoloPolicy(candidate, limits),
      base: base && new SoloPolicy(base, limits),
    };
    const tally = new Tally();
    for (const passed of replay(parts, selection, tally)) say({ passed });
    say({ counts: tally.counts, groups: [...tally.groups.values()], examples: tally.examples });
    reader.close();
  } catch (error) {
    say({ problem: describe(error) });
  }
}
