import type { Commands } from '../../storage/commands.ts';

/** What was counted and is not durable yet. */
export class Taken {
  /** What goes into the store with the record. */
  readonly command: Parameters<Commands['countUsage']>[0];
  readonly #settled: (isWritten: boolean) => void;

  constructor(command: Taken['command'], settled: (isWritten: boolean) => void) {
    this.command = command;
    this.#settled = settled;
  }

  /** Settles it by what becomes of the write. */
  async by<Result>(write: Promise<Result>): Promise<Result> {
    let isWritten = false;
    try {
      const result = await write;
      isWritten = true;
      return result;
    } finally {
      this.#settled(isWritten);
    }
  }

  /** Nothing is written. It counts until that is certain. */
  release(): void {
    this.#settled(false);
  }
}
