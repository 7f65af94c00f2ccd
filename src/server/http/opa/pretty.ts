/** JSON text with its members on lines of their own, numbers as they are written. Of sound JSON without spaces. */
export function indented(text: string): string {
  const out: string[] = [];
  let depth = 0;
  const line = (): void => void out.push('\n', '  '.repeat(depth));
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|\{\}|\[\]|[{}[\],:]|[^"{}[\],:]+/g)) {
    if (token === '{' || token === '[') {
      out.push(token);
      depth += 1;
      line();
    } else if (token === '}' || token === ']') {
      depth -= 1;
      line();
      out.push(token);
    } else if (token === ',') {
      out.push(token);
      line();
    } else out.push(token === ':' ? ': ' : token);
  }
  return out.join('');
}
