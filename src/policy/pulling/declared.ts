import { z } from 'zod';
import { bucket } from '../../audit/keeping/bucket.ts';

/** `bundles` of the configuration: docs/bundles.md. */
export const bundlesDeclared = z
  .array(
    z
      .strictObject({
        tenant: z.string().min(1),
        https: z
          .strictObject({
            url: z.url(),
            /** The bearer token: the file that holds it, or the variable of the environment. */
            token_file: z.string().min(1).optional(),
            token_environment: z
              .string()
              .regex(/^[A-Z_][A-Z0-9_]*$/)
              .optional(),
            client: z.strictObject({ cert: z.string().min(1), key: z.string().min(1) }).optional(),
            ca: z.string().min(1).optional(),
            /** For how long the server may hold a request, as OPA's long polling has it; 0: it is not asked to. */
            long_polling_seconds: z.int().min(0).max(600).default(0),
          })
          .refine(
            (one) => one.token_file === undefined || one.token_environment === undefined,
            'one of token_file and token_environment',
          )
          .optional(),
        folder: z.strictObject({ path: z.string().min(1), root: z.string().min(1).optional() }).optional(),
        s3: bucket
          .extend({ key: z.string().regex(/^[^\p{C}/][^\p{C}]{0,1023}$/u, 'the key of an object') })
          .optional(),
        /** What has to have signed it (OPA's .signatures.json): a public key in PEM. */
        verify: z
          .strictObject({
            key: z.string().min(1),
            algorithm: z.string().optional(),
            scope: z.string().default(''),
          })
          .optional(),
        /** Between two looks, at random from one to the other. */
        min_seconds: z.number().min(1).max(86_400).default(60),
        max_seconds: z.number().min(1).max(86_400).default(120),
      })
      .refine(
        ({ https, folder, s3 }) => [https, folder, s3].filter((each) => each !== undefined).length === 1,
        'a bundle has one of https, folder and s3',
      )
      .refine(({ min_seconds: min, max_seconds: max }) => min <= max, 'min_seconds is more than max_seconds')
      .refine(
        ({ folder, verify }) => folder === undefined || verify === undefined,
        'a folder is not signed: verify is for bundles',
      ),
  )
  .max(10_000)
  .refine(
    (bundles) => new Set(bundles.map(({ tenant }) => tenant)).size === bundles.length,
    'a tenant has two bundles',
  )
  .default([]);
