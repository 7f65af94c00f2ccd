import { z } from 'zod';

/** What a tenant declares for crossing domains: identity assertions (draft-ietf-oauth-identity-assertion-authz-grant). */

const name = z.string().min(1).max(256);

/** Of a trusted issuer: that its identity assertions are taken, and within which bounds. Left out: none is. */
export const identityAssertions = z.strictObject({
  /** From its `iat` to its `exp`. */
  max_lifetime_seconds: z.int().min(1).max(3_600).default(300),
  /** What comes of one ends so long after its `auth_time`, and one that has none is not taken. Left out: nothing is asked. */
  max_session_seconds: z.int().min(1).max(31_536_000).optional(),
  /** What its claim `tenant` says, of an issuer with several. Left out: it has no such claim. */
  tenant: name.optional(),
});

/** Another authority, to which identity assertions may be issued. */
const authority = z.strictObject({
  /** As its own metadata name it (RFC 8414). */
  issuer: z.url().max(1_024),
  /** What of it they may be for (RFC 8707). */
  resources: z.array(z.url().max(1_024)).min(1).max(64),
  /** How it calls whoever asks, by `class:id`. Who is left out has its own id there, too. */
  clients: z
    .record(z.string().regex(/^(?:agent|mcp_server|service|job):./, 'agent:<id>, mcp_server:<id>, …'), name)
    .default({}),
});

export const authorities = z
  .array(authority)
  .max(16)
  .refine((all) => new Set(all.map(({ issuer }) => issuer)).size === all.length, 'an authority stands twice')
  .default([]);

export type Authority = z.infer<typeof authority>;
