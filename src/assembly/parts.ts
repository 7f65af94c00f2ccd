import type { Config } from '../config.ts';
import type { Clock, Random } from '../effects.ts';
import type { Connection } from '../storage/database.ts';
import type { Writer } from '../storage/writer.ts';

/** What the services are made from; all of it can be replaced by a test. */
export interface Parts {
  readonly config: Config;
  readonly writer: Writer;
  readonly reader: Connection;
  /** Of its own for principals. */
  readonly directory: Connection;
  readonly clock: Clock;
  readonly random: Random;
  /** The address of the data plane, known once it listens. */
  readonly base: () => string;
  readonly stopping: AbortSignal;
}
