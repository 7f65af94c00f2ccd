import { parentPort, workerData } from 'node:worker_threads';
import { describe } from './errors.ts';
import { openReader } from './storage/reader.ts';
import { VolumeMaker } from './storage/volume/making.ts';
import type { FromMaking, Making } from './storage/volume/thread.ts';

/** The composition root of the thread that makes volumes: it reads the store, and writes files beside it. */
if (parentPort) {
  const port = parentPort;
  const { folder } = workerData as { folder: string };
  const reader = openReader(folder);
  const maker = new VolumeMaker(reader, folder);
  const answerTo = (asked: Making): FromMaking => {
    try {
      if ('wish' in asked) return { plan: maker.plan(asked.wish, asked.size) };
      return { made: maker.make(asked.plan, asked.checkpoint) };
    } catch (error) {
      return { problem: describe(error) };
    }
  };
  port.on('message', (asked: Making | 'close') => {
    if (asked !== 'close') return port.postMessage(answerTo(asked));
    reader.close();
    port.close();
  });
}
