import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { type DestinationStream, type Logger, pino } from 'pino';
import { type Clock, systemClock } from '../effects.ts';
import { describe, type ServiceError } from '../errors.ts';

export type { Logger } from 'pino';

/** Members whose values never reach a log line, wherever they stand. */
const SECRETS = [
  'authorization',
  'token',
  'subject_token',
  'access_token',
  'client_secret',
  'secret',
  'password',
  'privateKey',
];

export function createLogger(level: string, destination?: DestinationStream): Logger {
  const options = {
    level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: { paths: SECRETS.flatMap((name) => [name, `*.${name}`]), censor: '[redacted]' },
  };
  return pino(options, shown(destination ?? pino.destination({ fd: 2, sync: false })));
}

/** JSON leaves these as they are, and a terminal that shows the log acts on them: C1, DEL, what turns the text. */
const UNSEEN = /[\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

const shown = (destination: DestinationStream): DestinationStream => ({
  write: (line) =>
    destination.write(
      line.replace(UNSEEN, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`),
    ),
});

/** Codes whose causes an operator must look at; the rest are a caller's own mistakes. */
const SERIOUS: ReadonlySet<string> = new Set([
  'internal',
  'audit_unavailable',
  'unavailable',
  'policy_failed',
  'config_invalid',
  'storage_unsupported',
]);

/** What is refused before there is a tenant's log to record it in: an operator sees it here. */
const REFUSED: ReadonlySet<string> = new Set([
  'unauthenticated',
  'permission_denied',
  'principal_disabled',
  'tenant_unknown',
  'resource_exhausted',
]);

/** Lines a second of each kind: nobody gets to fill the disk, by whatever protocol. */
const LINES_A_SECOND = 20;

/** Writes what the core publishes. */
export function logChannels(logger: Logger, clock: Clock = systemClock): Disposable {
  const bound = new LineBound(logger, clock);
  const listeners: [string, (message: unknown) => void][] = [
    [
      'mandate:error',
      (message) => {
        const { error, where } = message as { error: ServiceError; where: string };
        const level = SERIOUS.has(error.code) ? 'error' : REFUSED.has(error.code) ? 'info' : 'debug';
        if (!logger.isLevelEnabled(level) || !bound.mayWrite(error.code)) return;
        const line = { code: error.code, where, detail: error.detail };
        logger[level](level === 'error' ? { ...line, cause: causes(error) } : line, error.message);
      },
    ],
    [
      'mandate:policy.activated',
      (message) => {
        if (bound.mayWrite('policy.activated')) logger.info(message as object, 'policy active');
      },
    ],
    [
      'mandate:policy.failed',
      (message) => {
        if (bound.mayWrite('policy.failed')) logger.warn(message as object, 'the policy failed');
      },
    ],
    [
      'mandate:bundle.pulled',
      (message) => {
        const { isNews, ...news } = message as { isNews: boolean; outcome: string };
        if (isNews && bound.mayWrite('bundle')) logger.warn(news, 'the bundle is not taken');
      },
    ],
    [
      'mandate:transport',
      (message) => {
        if (bound.mayWrite('transport')) logger.info(message as object, 'HTTP/2 connection ended');
      },
    ],
    [
      'mandate:store.fault',
      (message) => {
        if (bound.mayWrite('store.fault')) logger.error(message as object, 'the store is at fault');
      },
    ],
  ];
  for (const [name, listener] of listeners) subscribe(name, listener);
  return {
    [Symbol.dispose]: () => {
      for (const [name, listener] of listeners) unsubscribe(name, listener);
    },
  };
}

/** Counts the lines of each kind in a second; what is left out of them is one line in a later one. */
class LineBound {
  readonly #logger: Logger;
  readonly #clock: Clock;
  #written = new Map<string, number>();
  #second = 0;

  constructor(logger: Logger, clock: Clock) {
    this.#logger = logger;
    this.#clock = clock;
  }

  /** Kinds are ours and few, never a caller's word. */
  mayWrite(kind: string): boolean {
    const second = Math.floor(this.#clock() / 1000);
    if (second !== this.#second) this.#turn(second);
    const written = (this.#written.get(kind) ?? 0) + 1;
    this.#written.set(kind, written);
    return written <= LINES_A_SECOND;
  }

  #turn(second: number): void {
    for (const [kind, written] of this.#written)
      if (written > LINES_A_SECOND)
        this.#logger.info({ kind, left_out: written - LINES_A_SECOND }, 'more of the same');
    this.#written = new Map();
    this.#second = second;
  }
}

/** The chain of causes, as text; a stack only for what is a fault of ours. */
function causes(error: ServiceError): string[] {
  const chain: string[] = [];
  for (let cause = error.cause; cause !== undefined && chain.length < 5; cause = (cause as Error).cause)
    chain.push(
      error.code === 'internal' && cause instanceof Error
        ? (cause.stack ?? describe(cause))
        : describe(cause),
    );
  return chain;
}
