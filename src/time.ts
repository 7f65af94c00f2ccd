let lastMs = Number.NaN;
let lastText = '';

/** RFC 3339 with milliseconds. Many decisions share a millisecond, so its text is made once. */
export function isoTime(ms: number): string {
  if (ms !== lastMs) {
    lastText = new Date(ms).toISOString();
    lastMs = ms;
  }
  return lastText;
}
