import { setImmediate as nextTurn } from 'node:timers/promises';
import type { TraceEvent } from './trace.ts';

/** How long events are read before others get their turn. */
const SLICE_MS = 5;
/** OPA indents what it prints by two: an event of the list that is a member of the whole begins and ends like this. */
const [BEGIN, END] = ['\n    {\n', '\n    }'];
const LIST = '\n  "explanation": [';
/** Events that nothing is told from; they are a third of a trace. */
const IDLE = /^\s*\{\s*"Op": "(?:Redo|Index|Unify|Save|Duplicate)"/;

/** A report's text without its trace, which is as long as it likes, and where the trace is in it. */
export interface Split {
  readonly report: string;
  readonly trace: string;
}

/** Undefined where it is not printed as it is known to be. */
export function splitTrace(text: string): Split | undefined {
  const start = text.indexOf(LIST);
  if (start < 0) return undefined;
  const end = text.indexOf('\n  ]', start);
  if (end < 0) return undefined;
  const behind = text.slice(end + '\n  ]'.length);
  return {
    report: `${text.slice(0, start)}\n  "explanation": []${behind}`,
    trace: text.slice(start + LIST.length, end),
  };
}

/**
 * Reads a trace an event at a time, and lets others have their turn in between: parsed at once, sixteen megabytes hold the
 * server up for seventy milliseconds.
 */
export async function eachEvent(trace: string, see: (event: TraceEvent) => void): Promise<void> {
  let begun = performance.now();
  for (let at = trace.indexOf(BEGIN); at >= 0; at = trace.indexOf(BEGIN, at + 1)) {
    const end = trace.indexOf(END, at);
    if (end < 0) return;
    const text = trace.slice(at + 1, end + END.length);
    if (!IDLE.test(text.slice(0, 64))) see(JSON.parse(text) as TraceEvent);
    at = end;
    if (performance.now() - begun < SLICE_MS) continue;
    await nextTurn();
    begun = performance.now();
  }
}
