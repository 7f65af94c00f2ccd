/**
 * What a policy is asked about, as decision/ puts it together and policy/ takes it: JSON text, and the same as a value
 * that need not be parsed. The value is of JSON's kinds, or of the parts below, which say what comes again.
 */
export interface PolicyInput {
  /** `JSON.stringify` of the value: what the record keeps, and what the input costs. */
  readonly json: string;
  readonly value: unknown;
}

/** A value that does not change and will come again. */
export class Lasting {
  readonly value: unknown;
  /** How often it came, and what policy/ made of it; to others both mean nothing. */
  asked = 0;
  form: unknown;

  constructor(value: unknown) {
    this.value = value;
  }
}

/** A shape that is the same in each input, around values that are not. */
export class Outline {
  /** Holds a Hole for each value. */
  readonly value: unknown;
  /** What policy/ made of it. */
  form: unknown;

  /** `make` is given what stands for each of the values, which are numbered from 0. */
  constructor(make: (hole: (number: number) => Hole) => unknown) {
    this.value = make((number) => new Hole(number));
  }

  filled(values: readonly unknown[]): Filled {
    return new Filled(this, values);
  }
}

export class Filled {
  readonly outline: Outline;
  readonly values: readonly unknown[];

  constructor(outline: Outline, values: readonly unknown[]) {
    this.outline = outline;
    this.values = values;
  }
}

export class Hole {
  readonly number: number;

  constructor(number: number) {
    this.number = number;
  }
}
