/** The value of an object's own member; undefined where it has none, or is no object. */
export function ownValue(of: unknown, member: string): unknown {
  if (typeof of !== 'object' || of === null || !Object.hasOwn(of, member)) return undefined;
  return (of as Record<string, unknown>)[member];
}
