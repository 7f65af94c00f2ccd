import { readFileSync } from 'node:fs';

/** What the processors did between two moments, in clock ticks. */
interface Ticks {
  readonly busy: number;
  readonly total: number;
  /** Those of the bench and of what it started. */
  readonly ours: number;
}

/** Processes of the bench that run now, beside itself and the children it has waited for. */
export const watched = new Set<number>();

/** The part of the machine that something else may use before a round counts as disturbed. */
const QUIET = 0.05;
const TRIES = 3;

export interface Measured<T> {
  readonly figure: T;
  /** The part of the machine, 0 to 1, that processes other than the bench's used meanwhile. */
  readonly foreign: number;
}

/**
 * Measures while nothing else uses the machine: what was disturbed is measured again, up to three times, and the
 * least disturbed figure stands. A shared machine is told apart from a slow contender in no other way.
 */
export async function undisturbed<T>(measure: () => Promise<T>, tries = TRIES): Promise<Measured<T>> {
  let best: Measured<T> | undefined;
  for (let attempt = 0; attempt < tries; attempt += 1) {
    const before = ticks();
    const figure = await measure();
    const foreign = foreignShare(before, ticks());
    if (best === undefined || foreign < best.foreign) best = { figure, foreign };
    if (best.foreign <= QUIET) break;
  }
  if (best === undefined) throw new RangeError('nothing was measured');
  return best;
}

function foreignShare(before: Ticks, after: Ticks): number {
  const others = after.busy - before.busy - (after.ours - before.ours);
  return Math.max(0, others / (after.total - before.total));
}

/** /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal; proc(5). */
function ticks(): Ticks {
  const fields = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0]?.trim().split(/\s+/).slice(1, 9);
  const numbers = fields?.map(Number) ?? [];
  const total = numbers.reduce((sum, each) => sum + each, 0);
  const idle = (numbers[3] ?? 0) + (numbers[4] ?? 0);
  return { busy: total - idle, total, ours: ours() };
}

function ours(): number {
  let sum = 0;
  for (const pid of [process.pid, ...watched]) {
    try {
      // The name before the last parenthesis may hold anything; utime is the 12th field after it, then stime, and
      // those of children that were waited for: h2load.
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      for (const at of [11, 12, 13, 14]) sum += Number(fields[at]);
    } catch {
      watched.delete(pid);
    }
  }
  return sum;
}
