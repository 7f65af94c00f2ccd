/** A value with its members named as all JSON of the command is: `entry_point`; nothing of the protocol's own. */
export function snaked(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(snaked);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([name, each]) => !name.startsWith('$') && each !== undefined)
      .map(([name, each]) => [
        name.replace(/[A-Z]/g, (capital) => `_${capital.toLowerCase()}`),
        snaked(each),
      ]),
  );
}
