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
  return destination ? pino(options, destination) : pino(options, pino.destination({ fd: 2, sync: false }));
}

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

/** Lines a second for refusals: strangers do not get to fill the disk. */
const REFUSALS_A_SECOND = 20;

/** Writes what the core publishes. */
export function logChannels(logger: Logger, clock: Clock = systemClock): Disposable {
  let second = 0;
  let written = 0;
  const mayWrite = (): boolean => {
    const now = Math.floor(clock() / 1000);
    if (now !== second) {
      if (written > REFUSALS_A_SECOND)
        logger.info({ left_out: written - REFUSALS_A_SECOND }, 'more was refused');
      second = now;
      written = 0;
    }
    written += 1;
    return written <= REFUSALS_A_SECOND;
  };
  const listeners: [string, (message: unknown) => void][] = [
    [
      'mandate:error',
      (message) => {
        const { error, where } = message as { error: ServiceError; where: string };
        const line = { code: error.code, where, detail: error.detail };
        if (SERIOUS.has(error.code)) logger.error({ ...line, cause: causes(error) }, error.message);
        else if (!REFUSED.has(error.code)) logger.debug(line, error.message);
        else if (mayWrite()) logger.info(line, error.message);
      },
    ],
    [
      'mandate:store.fault',
      (message) => {
        if (mayWrite()) logger.error(message as object, 'the store is at fault');
      },
    ],
    ['mandate:policy.activated', (message) => logger.info(message as object, 'policy active')],
  ];
  for (const [name, listener] of listeners) subscribe(name, listener);
  return {
    [Symbol.dispose]: () => {
      for (const [name, listener] of listeners) unsubscribe(name, listener);
    },
  };
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
