import { mkdtempSync, rmSync } from 'node:fs';
import { readFile, unlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkpointText, parseCheckpoint } from '../../src/merkle/checkpoint.ts';
import type { Hash } from '../../src/merkle/hashes.ts';
import { parseVkey, SignatureType, verifierKey, vkeyOf } from '../../src/merkle/keys.ts';
import { cosignatureLine, isNoteOf, parseNote, signatureLine, signNote } from '../../src/merkle/note.ts';
import { parsePolicy, refusalOf } from '../../src/merkle/policy.ts';
import { proofText } from '../../src/merkle/proof-file.ts';
import { verifyConsistency, verifyInclusion } from '../../src/merkle/proofs.ts';
import { consistencyProof, inclusionProof, rootOf } from '../../src/merkle/tree.ts';
import { noise } from './reference.ts';
import { newSigner } from './signers.ts';
import { makeVerifiers, refused, takes, verified, verifiers, withoutGo } from './verifiers.ts';
import { WrittenLog } from './written-log.ts';

/** What src/merkle makes, before the eyes of golang.org/x/mod/sumdb, transparency-dev/merkle and torchwood. */

const signer = newSigner('log.example/a', SignatureType.ED25519);
const vkey = vkeyOf(signer);
const witness = newSigner('witness.example/w', SignatureType.COSIGNATURE);
const folder = mkdtempSync(path.join(tmpdir(), 'merkle-'));

/** The shortest, the longest, and many between. */
const entriesOf = (count: number): Buffer[] =>
  Array.from({ length: count }, (_, at) =>
    at === 1 ? Buffer.alloc(0) : at === 255 ? Buffer.alloc(65_535, 'x') : Buffer.from(`entry ${at}`),
  );

const sizes = [0, 1, 2, 3, 255, 256, 257, 600, 65_536 + 300];
const logs = new Map(sizes.map((size) => [size, new WrittenLog(signer.name, entriesOf(size))]));
const logOf = (size: number): WrittenLog => logs.get(size) as WrittenLog;
const placeOf = (size: number): string => path.join(folder, `${size}`);

afterAll(() => rmSync(folder, { recursive: true }));

describe.skipIf(withoutGo !== '')(`other people's verifiers${withoutGo}`, () => {
  beforeAll(async () => {
    await makeVerifiers();
    for (const [size, log] of logs) await log.write(placeOf(size), signer);
  }, 300_000);

  describe('a log as tiles', () => {
    test.each(sizes)('of %i entries', async (size) => {
      expect(await verifiers(['tiles', placeOf(size), vkey])).toEqual({
        ...verified,
        stdout: `log.example/a of ${size} leaves\n`,
      });
    });

    test('served, to who may read it', async () => {
      await using served = await serving(placeOf(600), 'Bearer abc');
      const stdout = 'log.example/a of 600 leaves\n';
      expect(await verifiers(['tiles', served.url, vkey], '', { LOG_AUTHORIZATION: 'Bearer abc' })).toEqual({
        ...verified,
        stdout,
      });
      expect(await verifiers(['tiles', served.url, vkey], '', { LOG_AUTHORIZATION: 'Bearer abd' })).toEqual(
        refused,
      );
      expect(await verifiers(['tiles', served.url, vkey])).toEqual(refused);
    });

    test('by the key of another, of the same name, it is refused', async () => {
      const other = vkeyOf(newSigner(signer.name, SignatureType.ED25519));
      expect(await verifiers(['tiles', placeOf(3), other])).toEqual(refused);
    });

    test.each([1, 3, 256, 257, 600])(
      'of %i entries with a bit of any file changed, or a byte more or less, or without it, is refused',
      async (size) => {
        for (const [file, bytes] of logOf(size).files(signer)) {
          const place = path.join(placeOf(size), file);
          const changed = Buffer.from(bytes);
          changed[bytes.length >> 1] = (changed[bytes.length >> 1] as number) ^ 1;
          for (const other of [changed, bytes.subarray(0, -1), Buffer.concat([bytes, Buffer.of(0)])]) {
            await writeFile(place, other);
            expect(await verifiers(['tiles', placeOf(size), vkey])).toEqual(refused);
          }
          await unlink(place);
          expect(await verifiers(['tiles', placeOf(size), vkey])).toEqual(refused);
          await writeFile(place, bytes);
        }
        expect(await verifiers(['tiles', placeOf(size), vkey])).toMatchObject(verified);
      },
    );

    test('that states another root, size or origin, though it is signed, is refused', async () => {
      const { checkpoint } = logOf(257);
      const place = path.join(placeOf(257), 'checkpoint');
      const whole = await readFile(place);
      for (const other of [
        { ...checkpoint, root: noise('other') },
        { ...checkpoint, size: 256 },
        { ...checkpoint, size: 258 },
        { ...checkpoint, size: 0 },
        { ...checkpoint, origin: 'log.example/b' },
      ]) {
        await writeFile(place, signNote(checkpointText(other), signer));
        expect(await verifiers(['tiles', placeOf(257), vkey])).toEqual(refused);
      }
      await writeFile(place, whole);
    });
  });

  describe('notes', () => {
    const text = 'A text\n\nof three lines — ä\n';

    test('are signed as golang.org/x/mod has it, by keys of both types', async () => {
      expect(await verifiers(['note', vkey], signNote(text, signer))).toEqual({
        ...verified,
        stdout: 'signed by log.example/a\n',
      });
      const body = checkpointText(logOf(3).checkpoint);
      const cosigned = signNote(body, signer) + cosignatureLine(body, witness, 1_700_000_000n);
      expect(await verifiers(['note', vkey, vkeyOf(witness)], cosigned)).toEqual({
        ...verified,
        stdout: 'signed by log.example/a witness.example/w\n',
      });
    });

    test('what is refused there is refused here, and what is taken there is taken here', async () => {
      const note = signNote(text, signer);
      const [, line = ''] = note.split('\n\n— ');
      const bad = signatureLine(signer, Buffer.alloc(64));
      const stranger = newSigner('stranger.example', SignatureType.ED25519);
      const strange = signatureLine(stranger, Buffer.alloc(3));
      for (const [source, isTaken] of [
        [note, true],
        [note + strange, true],
        [`${text}\n${strange}— ${line}`, true],
        [signNote(`a\x7f\u0085\u00a0\ufeffb\n`, signer), true],
        [signNote('\n', signer), true],
        [`${text}\n${strange}`, false],
        [`${text}\n${bad}`, false],
        [`${text}\n${bad}— ${line}`, false],
        [note.replace('text', 'Text'), false],
        [note.trimEnd(), false],
        [`${note}\n`, false],
        [note.replace('\n\n— ', '\n— '), false],
        [note.replaceAll('\n', '\r\n'), false],
        [note.replace('\n— log', '\n—  log'), false],
        [note.replace('\n— log', '\n- log'), false],
        [`${note}— x+y ${Buffer.alloc(9).toString('base64')}\n`, false],
        [`${note}— xy ${Buffer.alloc(4).toString('base64')}\n`, false],
        [`${note}— xy AAAA\n`, false],
        [`${note}— xy !!!!\n`, false],
        [`\t${note}`, false],
        ['', false],
      ] as const) {
        const there = await verifiers(['note', vkey], source);
        expect([source, there.code === 0, isTakenHere(source)]).toEqual([source, isTaken, isTaken]);
      }
    });

    const isTakenHere = (source: string): boolean => {
      try {
        return isNoteOf(parseNote(source), parseVkey(vkey));
      } catch {
        return false;
      }
    };

    test('a verifier key that is changed is refused', async () => {
      const source = signNote(text, signer);
      const [name = '', id = '', ...key] = vkey.split('+');
      for (const other of [
        `${name}x+${id}+${key.join('+')}`,
        `${name}+00000000+${key.join('+')}`,
        `${name}+${id}+${key.join('+').slice(0, -1)}`,
        vkeyOf(verifierKey(name, SignatureType.COSIGNATURE, signer.publicKey)),
      ])
        expect(await verifiers(['note', other], source)).toEqual(refused);
    });
  });

  describe('C2SP tlog-proof', () => {
    const entryFile = path.join(folder, 'entry');

    test.each([
      [0, 1],
      [0, 2],
      [1, 3],
      [255, 256],
      [256, 257],
      [599, 600],
      [65_535, 65_836],
      [65_836 - 1, 65_836],
    ])('entry %i of %i', async (index, size) => {
      const log = logOf(size);
      const checkpoint = parseCheckpoint(signNote(checkpointText(log.checkpoint), signer));
      const path = inclusionProof(log, index, size);
      await writeFile(entryFile, log.entries[index] as Uint8Array);
      const plain = proofText({ index, path, checkpoint });
      expect(await verifiers(['proof', vkey, entryFile], plain)).toEqual({ ...verified, stdout: 'proven\n' });
      const withExtra = proofText({ extra: Buffer.from('more'), index, path, checkpoint });
      expect(await verifiers(['proof', vkey, entryFile], withExtra)).toEqual({
        ...verified,
        stdout: 'proven, with 4 bytes of extra data\n',
      });
      for (const other of [
        proofText({ index: index + 1, path, checkpoint }),
        proofText({ index, path: [...path, noise('more')], checkpoint }),
        plain.replace(`\n${size}\n`, `\n${size + 1}\n`),
      ])
        expect(await verifiers(['proof', vkey, entryFile], other)).toEqual(refused);
      await writeFile(entryFile, 'another entry');
      expect(await verifiers(['proof', vkey, entryFile], plain)).toEqual(refused);
    });
  });

  describe('C2SP tlog-policy', () => {
    const file = path.join(folder, 'policy');
    const witnesses = ['X1', 'X2', 'X3', 'Y1', 'Y2'].map((name) =>
      newSigner(name, SignatureType.COSIGNATURE),
    );
    const policy = [
      `log ${vkey}`,
      ...witnesses.map((each) => `witness ${each.name} ${vkeyOf(each)} https://${each.name}.example`),
      'group X 2 X1 X2 X3',
      'group Y any Y1 Y2',
      'group XY all X Y',
      'quorum XY',
    ].join('\n');
    const text = checkpointText(logOf(600).checkpoint);
    const signed = (bits: number): string =>
      signNote(text, signer) +
      witnesses
        .filter((_, at) => bits & (1 << at))
        .map((each) => cosignatureLine(text, each, 1n))
        .join('');

    test('who is enough here is enough there, of all 32 that may have signed', async () => {
      await writeFile(file, policy);
      for (let bits = 0; bits < 32; bits += 1) {
        const there = await verifiers(['checkpoint', file], signed(bits));
        const refusal = refusalOf(parsePolicy(policy), parseCheckpoint(signed(bits)));
        expect([bits, refusal]).toEqual([bits, there.code === 0 ? undefined : expect.stringContaining('XY')]);
      }
    });

    test('a bad cosignature is refused, here and there', async () => {
      await writeFile(file, policy);
      const [first] = witnesses;
      const source = signed(0b11110) + cosignatureLine('another\n', first as typeof witness, 1n);
      expect(await verifiers(['checkpoint', file], source)).toEqual(refused);
      expect(refusalOf(parsePolicy(policy), parseCheckpoint(source))).toMatch(/X1/);
    });

    test('a log of another origin is refused, here and there', async () => {
      await writeFile(file, policy);
      const other = newSigner('log.example/b', SignatureType.ED25519);
      for (const source of [
        signNote(checkpointText({ ...logOf(3).checkpoint, origin: other.name }), other),
        signNote(checkpointText({ ...logOf(3).checkpoint, origin: other.name }), signer),
      ]) {
        expect(await verifiers(['checkpoint', file], source)).toEqual(refused);
        expect(refusalOf(parsePolicy(policy), parseCheckpoint(source))).toMatch(/log.example\/b/);
      }
    });
  });

  describe('proofs', () => {
    const log = logOf(65_836);
    const size = fc.oneof(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 1_300 }),
      fc.integer({ min: 65_500, max: 65_836 }),
    );
    const change = fc.record({
      at: fc.nat(),
      kind: fc.constantFrom('none', 'bit', 'less', 'more', 'swap', 'place', 'size', 'root', 'long', 'short'),
    });
    const pairs = fc.tuple(size, fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), change);
    // The same each time, as who judges is another process.
    const samples = fc.sample(pairs, { numRuns: 3_000, seed: 6962 });

    const changed = (proof: readonly Hash[], { kind, at }: (typeof samples)[number][2]): Hash[] => {
      const place = proof.length === 0 ? 0 : at % proof.length;
      const hash = Buffer.from(proof[place] ?? noise('more'));
      if (kind === 'more') return proof.toSpliced(place, 0, noise('more'));
      if (proof.length === 0) return [...proof];
      if (kind === 'bit') return proof.with(place, hash.with(at % 32, (hash[at % 32] as number) ^ 1));
      if (kind === 'less') return proof.toSpliced(place, 1);
      if (kind === 'long') return proof.with(place, Buffer.concat([hash, Buffer.of(0)]));
      if (kind === 'short') return proof.with(place, hash.subarray(0, 31));
      if (kind === 'swap') return proof.with(place, proof.at(-1) as Hash).with(proof.length - 1, hash);
      return [...proof];
    };

    test('of inclusion, whole and changed, are judged as transparency-dev/merkle judges them', async () => {
      const proofs = samples.map(([n, part, change]) => {
        const index = Math.floor(part * n);
        return {
          leafIdx: change.kind === 'place' ? index + 1 : index,
          treeSize: change.kind === 'size' ? n + 1 : n,
          root: change.kind === 'root' ? noise('root') : rootOf(log, n),
          leafHash: log.read(0, index, index + 1),
          proof: changed(inclusionProof(log, index, n), change),
        };
      });
      const here = proofs.map((each) =>
        verifyInclusion(each.leafHash, each.leafIdx, each.treeSize, each.proof, each.root),
      );
      expect(await takes('inclusion', proofs)).toEqual(here);
      expect(here.filter(Boolean).length).toBeGreaterThan(250);
      expect(samples.every(([, , { kind }], at) => kind !== 'none' || here[at])).toBe(true);
    });

    test('of consistency, whole and changed, are judged as transparency-dev/merkle judges them', async () => {
      const proofs = samples.map(([n, part, change]) => {
        const older = Math.floor(part * n) + 1;
        return {
          size1: change.kind === 'place' ? older - 1 || 2 : older,
          size2: change.kind === 'size' ? n + 1 : n,
          root1: rootOf(log, older),
          root2: change.kind === 'root' ? noise('root') : rootOf(log, n),
          proof: changed(consistencyProof(log, older, n), change),
        };
      });
      const here = proofs.map((each) =>
        verifyConsistency(each.size1, each.size2, each.root1, each.root2, each.proof),
      );
      expect(await takes('consistency', proofs)).toEqual(here);
      expect(here.filter(Boolean).length).toBeGreaterThan(250);
      expect(samples.every(([, , { kind }], at) => kind !== 'none' || here[at])).toBe(true);
    });
  });
});

/** Serves a folder to who sends that header. */
async function serving(root: string, authorization: string) {
  const server = createServer((request, response) => {
    if (request.headers.authorization !== authorization) {
      response.writeHead(401).end();
      return;
    }
    readFile(path.join(root, request.url ?? '')).then(
      (bytes) => response.end(bytes),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
