/**
 * Loaded into a server's process before its own code, and so into each of its threads. A file whose name says which
 * thread and what, in the folder MANDATE_TEST_FAULTS, makes it so: `decisions.hang`, `writer.hang`, `writer.end`,
 * `receiving.hang`, `receiving.end`.
 */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { threadName } from 'node:worker_threads';

const folder = process.env['MANDATE_TEST_FAULTS'] ?? '';
const thread = {
  'mandate-decisions': 'decisions',
  'mandate-writer': 'writer',
  'mandate-receiving': 'receiving',
}[threadName];

/** As a system call does that does not return; nothing interrupts it. */
const hang = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 120_000);
/** As a loop does that does not end. */
const spin = () => {
  for (;;);
};
const faults = { hang: thread === 'writer' ? hang : spin, end: () => process.exit(3) };

if (thread)
  setInterval(() => {
    for (const [name, fault] of Object.entries(faults))
      if (existsSync(path.join(folder, `${thread}.${name}`))) fault();
  }, 20).unref();
