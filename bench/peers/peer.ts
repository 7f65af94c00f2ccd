import type { Target } from '../harness/load.ts';
import type { Running } from '../harness/processes.ts';
import type { Question } from '../scenario/questions.ts';

/** A server of the scenario that runs. */
export interface Peer extends AsyncDisposable {
  readonly running: Running;
  /** The typical question as one request. */
  readonly unary: Target;
  /** Asks as a client would, to see that all contenders decide alike. */
  readonly allows: (question: Question) => Promise<boolean>;
}

/** HTTP/2 load: enough in flight to keep every contender busy. */
export const FULL_LOAD = { clients: 8, streams: 32 } as const;
