import { z } from 'zod';

/** What tokens may be signed with. One is pinned for each key (RFC 8725 section 3.1). */
export const keyAlgorithms = ['ES256', 'EdDSA', 'RS256'] as const;
export type KeyAlgorithm = (typeof keyAlgorithms)[number];

/** `keys` in tenant.yaml: what the tenant's tokens are signed with, and for how long by one key. */
export const keysDeclared = z
  .strictObject({
    /** What every OAuth client and Envoy verify by default. Another one comes in as a new key does. */
    algorithm: z.enum(keyAlgorithms).default('ES256'),
    rotate_days: z.int().min(1).max(366).default(30),
  })
  .prefault({});

export type KeysDeclared = z.infer<typeof keysDeclared>;
