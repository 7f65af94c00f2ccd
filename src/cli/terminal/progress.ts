/** How far long work is: a line that is written over, on a terminal alone, and gone at the end. */
export class Progress implements Disposable {
  readonly #isShown = process.stderr.isTTY;
  readonly #what: string;
  #told = 0;
  #began = performance.now();

  /** `what`: what is counted. */
  constructor(what: string) {
    this.#what = what;
  }

  readonly tell = (done: number, total: number): void => {
    const now = performance.now();
    if (!this.#isShown || now - this.#told < 200 || now - this.#began < 500) return;
    this.#told = now;
    const part = total === 0 ? 100 : Math.floor((done / total) * 100);
    process.stderr.write(
      `\r${done.toLocaleString('en')} of ${total.toLocaleString('en')} ${this.#what} (${part} %)`,
    );
  };

  [Symbol.dispose](): void {
    if (this.#told > 0) process.stderr.write('\r\u001b[K');
    this.#told = 0;
  }
}
