import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { processorMs } from '../processor.ts';
import { type Left, leftStore, OLDER, SIZE } from './attacked.ts';
import { audit } from './within.ts';

/** A receipt in the hands of somebody who wants it to say something else: `mandate audit verify` by the key alone. */

let left: Left;
let receipt: string;
beforeAll(async () => {
  left = await leftStore();
  receipt = left.receipt(300);
});
afterAll(() => left[Symbol.asyncDispose]());

async function verified(
  bytes: string | Uint8Array,
  ...args: string[]
): Promise<{ code: number; said: string }> {
  const file = path.join(left.store, '..', 'receipt.tlog-proof');
  await writeFile(file, bytes);
  const { code, stdout } = await audit(
    'verify',
    file,
    ...(args.length > 0 ? args : ['--key', left.keys.acme]),
  );
  return { code, said: stdout };
}

const WHY =
  /^NOT PROVED {2}(?:it does not prove that the entry stands at \d+|the (?:proof|note|log|file|signature) [^\n]+|a line of the note is no signature|no key is known of the log [^\n]+)\n$/;

async function expectRefused(changed: string | Uint8Array): Promise<void> {
  const { code, said } = await verified(changed);
  expect({ code, changed: Buffer.from(changed).subarray(0, 4_000).toString() }).toMatchObject({ code: 1 });
  expect(said).toMatch(WHY);
}

/** The lines, and where each begins. */
const lines = (): { text: string; at: number }[] => {
  let at = 0;
  return receipt.split('\n').map((text) => {
    const line = { text, at };
    at += text.length + 1;
    return line;
  });
};

test('as it was handed out it is proved, wherever its record stands', async () => {
  for (const index of [0, 255, 300, SIZE - 1]) {
    const { code, said } = await verified(left.receipt(index));
    expect(code).toBe(0);
    expect(said).toMatch(RegExp(`^proved: record ${index} of \\S+/t/acme/log/main, among ${SIZE}\\n{"v":1,`));
  }
});

describe('changed by a byte', () => {
  const kinds: [string, (line: string) => boolean][] = [
    ['the first line', (line) => line.startsWith('c2sp.org/')],
    ['the entry', (line) => line.startsWith('extra ')],
    ['the index', (line) => line.startsWith('index ')],
    ['the path', (line) => /^[A-Za-z0-9+/]{43}=$/.test(line)],
    ['the origin', (line) => line.endsWith('/log/main')],
    ['the size', (line) => line === String(SIZE)],
    ['the signature', (line) => line.startsWith('— ')],
    ['the ends of lines', (line) => line === ''],
  ];

  test.each(kinds)('%s: it proves nothing', async (_, isOf) => {
    const found = lines().filter(({ text }) => isOf(text));
    expect(found.length).toBeGreaterThan(0);
    const bytes = Buffer.from(receipt);
    const prefix = (at: number): number => Buffer.byteLength(receipt.slice(0, at));
    for (const { text, at } of found) {
      const [from, end] = [prefix(at), prefix(at) + Buffer.byteLength(text) + 1];
      for (let place = from; place < end && place < bytes.length; place += 1)
        for (const bit of place % 16 === 0 ? [0, 1, 2, 3, 4, 5, 6, 7] : [place % 7]) {
          const changed = Buffer.from(bytes);
          changed[place] = (changed[place] ?? 0) ^ (1 << bit);
          await expectRefused(changed);
        }
    }
  });

  test('left out, or twice, anywhere', async () => {
    const bytes = Buffer.from(receipt);
    for (let place = 0; place < bytes.length; place += 3) {
      await expectRefused(Buffer.concat([bytes.subarray(0, place), bytes.subarray(place + 1)]));
      await expectRefused(Buffer.concat([bytes.subarray(0, place + 1), bytes.subarray(place)]));
    }
  });
});

describe('changed by a line', () => {
  const without = (isOf: (line: string) => boolean): string =>
    receipt
      .split('\n')
      .filter((line) => !isOf(line))
      .join('\n');

  test('without its entry it proves none', async () => {
    const { code, said } = await verified(without((line) => line.startsWith('extra ')));
    expect({ code, said }).toEqual({
      code: 1,
      said: 'NOT PROVED  the file proves an entry that it does not hold\n',
    });
    await expectRefused(receipt.replace(/^extra .*$/m, 'extra '));
    await expectRefused(receipt.replace(/^extra .*$/m, 'extra'));
  });

  test('a line left out, twice, or in the place of its neighbour', async () => {
    const all = receipt.split('\n');
    // The last is what comes after the last newline: nothing.
    for (let at = 0; at < all.length - 1; at += 1) {
      const [line = '', next = ''] = all.slice(at);
      if (!line.startsWith('extra ')) await expectRefused(all.toSpliced(at, 1).join('\n'));
      if (!line.startsWith('— ')) await expectRefused(all.toSpliced(at, 0, line).join('\n'));
      await expectRefused(all.toSpliced(at, 2, next, line).join('\n'));
    }
  });

  test('of another record, another size or another log', async () => {
    const [head = '', note = ''] = receipt.split(/(?<=\n)\n/);
    const [other = '', sameNote] = left.receipt(255).split(/(?<=\n)\n/);
    expect(sameNote).toBe(note);
    const entryOf = (text: string): string => /^extra .*$/m.exec(text)?.[0] ?? '';
    await expectRefused(`${other.replace(/^extra .*$/m, entryOf(head))}\n${note}`);
    await expectRefused(`${head.replace(/^extra .*$/m, entryOf(other))}\n${note}`);
    await expectRefused(`${other.replace('index 255', 'index 300')}\n${note}`);
    await expectRefused(`${head}\n${left.checkpoints.older}`);
    await expectRefused(`${head}\n${left.checkpoints.globex}`);
    for (const index of [0, 299, 301, OLDER, SIZE - 1, SIZE, SIZE + 300])
      await expectRefused(receipt.replace('index 300', `index ${index}`));
    for (const index of ['0300', '+300', '300.0', '3e2', '0x12c', ' 300', '300 ', '-1', '', `${2 ** 60}`])
      await expectRefused(receipt.replace('index 300', `index ${index}`));
  });

  test('with something before, behind or between', async () => {
    for (const more of ['\n', ' ', 'x', '\0', '\n\n', receipt, '— x AAAA\n'.repeat(64)]) {
      await expectRefused(`${receipt}${more}`);
      await expectRefused(`${more}${receipt}`);
    }
    await expectRefused(`\ufeff${receipt}`);
    await expectRefused(receipt.replaceAll('\n', '\r\n'));
    await expectRefused(receipt.replaceAll('\n', '\r'));
    await expectRefused(receipt.replace('\n\n', '\nextra AAAA\n\n'));
    await expectRefused(receipt.replace('\nindex', '\nextra AAAA\nindex'));
    await expectRefused(receipt.replace('— ', '- '));
    await expectRefused('');
  });

  test('an additional signature of somebody unknown changes nothing; a bad one of the log refuses it', async () => {
    const stranger = `— stranger ${Buffer.alloc(68, 9).toString('base64')}\n`;
    expect((await verified(`${receipt}${stranger}`)).code).toBe(0);
    const own = receipt.trimEnd().split('\n').at(-1) ?? '';
    const [, name = '', encoded = ''] = own.split(' ');
    const bytes = Buffer.from(encoded, 'base64');
    bytes.fill(0, 10, 20);
    await expectRefused(`${receipt}— ${name} ${bytes.toString('base64')}\n`);
  });
});

describe('whom it is verified by', () => {
  test('the key of another tenant, of the same name, or of no use proves nothing', async () => {
    const other = await verified(receipt, '--key', left.keys.globex);
    expect(other).toEqual({
      code: 1,
      said: expect.stringMatching(
        /^NOT PROVED {2}no key is known of the log \S+\/t\/acme\/log\/main\n$/,
      ) as string,
    });
    expect((await verified(receipt, '--key', left.keys.globex, left.keys.acme)).code).toBe(0);
  });
});

describe('what is far too large', () => {
  test('is not looked at for long', async () => {
    const began = processorMs();
    const path53 = `${Buffer.alloc(32).toString('base64')}\n`;
    for (const large of [
      receipt.replace('index', `${path53.repeat(90_000)}index`),
      receipt.replace('\n\n', `\n${path53.repeat(54)}\n`),
      receipt.replace('\n\n', `\n${path53.repeat(90_000)}\n`),
      `${receipt}${'— x AAAAAAAA\n'.repeat(200_000)}`,
      receipt.replace(/^extra .*$/m, `extra ${'A'.repeat(64_000_000)}`),
      Buffer.alloc(64_000_000, 0x0a),
      Buffer.alloc(64_000_000),
    ])
      await expectRefused(large);
    expect(processorMs() - began).toBeLessThan(10_000);
  });
});
