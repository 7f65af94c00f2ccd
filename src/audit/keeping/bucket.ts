import { z } from 'zod';

/** A bucket of an S3-compatible store, as it is configured. */
export const bucket = z.strictObject({
  endpoint: z.url(),
  region: z.string().min(1).default('us-east-1'),
  bucket: z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'a name of a bucket'),
  prefix: z
    .string()
    .regex(/^(?:[\w.!*'()=-]+\/)*$/, 'empty, or names that each end with /')
    .default(''),
});
