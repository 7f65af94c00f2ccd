import { characters } from '../../values/values.ts';

/** The flags, the width and the precision of a directive. */
export interface Directive {
  /** The name of the type of integers: `int64`, or `int` in a template. */
  readonly integer: string;
  readonly plus: boolean;
  readonly minus: boolean;
  readonly sharp: boolean;
  readonly space: boolean;
  readonly zero: boolean;
  /** `#` of `%v` and `%w` means Go's syntax, and then nothing else. */
  readonly sharpValue: boolean;
  readonly width: number | undefined;
  readonly precision: number | undefined;
}

/** To the left with zeros if they are asked for, whatever the value is. */
export function pad(value: string, { width, minus, zero }: Directive): string {
  if (width === undefined) return value;
  const missing = width - characters(value).length;
  if (missing <= 0) return value;
  if (minus) return value + ' '.repeat(missing);
  return (zero ? '0' : ' ').repeat(missing) + value;
}
