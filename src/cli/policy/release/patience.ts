import type { GlobalOptions } from '../../terminal/output.ts';

/** The server ends a compilation and its tests before that. In seconds. */
const LEAST = 120;

/** A policy is compiled and tested while the command waits, which may take longer than other calls. */
export const patient = (globals: GlobalOptions): GlobalOptions => ({
  ...globals,
  timeout: Math.max(globals.timeout, LEAST),
});
