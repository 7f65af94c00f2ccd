/** What explaining one decision may take, and what of it is shown. */
export const bounds = {
  /** By the wall clock, of all that OPA runs for it. */
  totalMs: 5_000,
  /** Of each of them. */
  runMs: 2_500,
  /** Of one rule's trace: a body of a rule is some forty events of three kilobytes. */
  traceBytes: 8 * 1024 * 1024,
  /** Of address space that OPA may have: a trace is kept in memory until its end. */
  memoryKib: 2 * 1024 * 1024,
  /** Calls of rules by rules. */
  depth: 6,
  bodies: 50,
  rules: 200,
  values: 12,
  valueCharacters: 200,
  textCharacters: 400,
  /** Members of a set that a body gave. */
  gave: 10,
  /** Files whose syntax is looked at. */
  files: 32,
} as const;

export const clipped = (text: string, most: number): string =>
  text.length <= most ? text : `${text.slice(0, most)}… (${text.length} characters)`;
