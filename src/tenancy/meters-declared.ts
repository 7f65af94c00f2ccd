import { z } from 'zod';

/** What a meter counts for each of: a task, a tree of grants, who acts, or on whose behalf. */
export const meterScopes = ['task', 'grant', 'actor', 'subject'] as const;
export type MeterScope = (typeof meterScopes)[number];

/** As in Rego's `input.usage.exports`. */
export const meterName = z.string().regex(/^[a-z]\w{0,63}$/, 'a meter is a name such as exports');

const actions = z.array(z.string().min(1).max(256)).max(64);

const UNITS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Milliseconds of a text such as `90s`, `1h` or `30d`. */
const windowOf = (text: string): number =>
  Number(text.slice(0, -1)) * UNITS[text.slice(-1) as keyof typeof UNITS];

const MAX_WINDOW_MS = 366 * UNITS.d;

const window = z
  .string()
  .regex(/^[1-9]\d{0,7}[smhd]$/, 'a time such as 90s, 15m, 1h or 30d')
  .transform(windowOf)
  .refine((ms) => ms >= UNITS.m && ms <= MAX_WINDOW_MS, 'a window is one minute to 366 days');

/** As amounts are counted: of at most six decimals. */
const number = z
  .number()
  .min(0)
  .max(1e9)
  .refine((value) => Math.round(value * 1e6) / 1e6 === value, 'a number of at most six decimals');

const meter = z.strictObject({
  /** What is counted, each time it is allowed. */
  actions: actions.min(1),
  /** What else may be decided by the count, without being counted. */
  seen_by: actions.default([]),
  per: z.enum(meterScopes),
  /** How long something counts. Left out: as long as what it is counted for is there. */
  window: window.optional(),
  /** Where the request says how much it is; left out: each is one. */
  sum: z
    .string()
    .max(256)
    .regex(
      /^(?:(?:action|resource)\.properties|context)(?:\.[A-Za-z_][\w-]*)+$/,
      'a member of the request, such as resource.properties.rows',
    )
    .optional(),
  /** How much there may be in all, whatever the policy says. */
  limit: number.optional(),
  /**
   * The most of it that a server which follows may have at once to count by itself. It says that a policy which sees a
   * larger count allows no more.
   */
  lease: number.positive('a lease is more than 0').optional(),
});

/** The counters that a tenant declares, in tenant.yaml: `meters`. */
export const metersDeclared = z
  .record(meterName, meter, {
    error: ({ code }) => (code === 'invalid_key' ? 'a meter is a name such as exports' : undefined),
  })
  .refine((meters) => Object.keys(meters).length <= 32, 'at most 32 meters')
  .refine(
    (meters) => Object.values(meters).every(({ lease, limit }) => lease === undefined || limit !== undefined),
    'a meter with a lease has a limit: parts are leased of what there is',
  )
  .default({});

export type Meter = z.infer<typeof meter>;
export type Meters = z.infer<typeof metersDeclared>;
