import { z } from 'zod';

/** A claim by its name, or by a JSON Pointer (RFC 6901) where it is within another. */
const claim = z.string().min(1).max(256);

const pattern = z
  .string()
  .min(1)
  .max(512)
  .regex(/[^*]/, 'a claim that may be anything says nothing of who it is');

/** Tokens that a platform gives to what runs on it, such as Kubernetes or GitHub Actions. */
export const workload = z.strictObject({
  /** One that the tenant trusts, and not for users. */
  issuer: z.url().max(2_048),
  /** What its `aud` must name, such as the tenant's own issuer. */
  audience: z.string().min(1).max(2_048),
  /** All of these must match; `*` stands for any characters. */
  claims: z
    .record(claim, pattern)
    .refine((claims) => Object.keys(claims).length > 0, { error: 'name a claim, such as sub' })
    .refine((claims) => Object.keys(claims).length <= 16, { error: 'at most 16 claims' }),
});

export type Workload = z.infer<typeof workload>;

/** Whether the claims of a token, verified, are the workload's. A claim that is no text matches nothing. */
export const matches = ({ claims: wanted }: Workload, claims: Readonly<Record<string, unknown>>): boolean =>
  Object.entries(wanted).every(([name, text]) => {
    const value = valueOf(claims, name);
    return typeof value === 'string' && matchesPattern(text, value);
  });

function valueOf(claims: unknown, name: string): unknown {
  const path = name.startsWith('/') ? name.slice(1).split('/').map(unescaped) : [name];
  return path.reduce<unknown>(
    (value, each) =>
      typeof value === 'object' && value !== null && !Array.isArray(value) && Object.hasOwn(value, each)
        ? (value as Record<string, unknown>)[each]
        : undefined,
    claims,
  );
}

const unescaped = (part: string): string => part.replaceAll('~1', '/').replaceAll('~0', '~');

/** Each part is looked for after the one before it, the first and the last at the ends: linear, whatever the pattern. */
function matchesPattern(text: string, value: string): boolean {
  const [first = '', ...rest] = text.split('*');
  const last = rest.pop();
  if (last === undefined) return value === text;
  if (!value.startsWith(first) || value.length < first.length + last.length || !value.endsWith(last))
    return false;
  let at = first.length;
  for (const part of rest) {
    const found = value.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= value.length - last.length;
}
