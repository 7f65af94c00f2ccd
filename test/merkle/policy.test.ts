import { describe, expect, test } from 'vitest';
import { checkpointText, parseCheckpoint, type SignedCheckpoint } from '../../src/merkle/checkpoint.ts';
import { SignatureType, type SignerKey, verifierKey, vkeyOf } from '../../src/merkle/keys.ts';
import { cosignatureLine, signatureLine, signNote } from '../../src/merkle/note.ts';
import { parsePolicy, policyOf, refusalOf } from '../../src/merkle/policy.ts';
import { noise } from './reference.ts';
import { newSigner } from './signers.ts';

/** C2SP tlog-policy. */

const { ED25519, COSIGNATURE } = SignatureType;

const log = newSigner('log.example/a', ED25519);
const other = newSigner('log.example/b', ED25519);
const names = ['X1', 'X2', 'X3', 'Y1', 'Y2', 'Y3'] as const;
const witnesses = Object.fromEntries(
  names.map((name) => [name, newSigner(`witness.example/${name}`, COSIGNATURE)]),
) as Record<(typeof names)[number], SignerKey>;
const stranger = newSigner('stranger.example', COSIGNATURE);

const text = checkpointText({ origin: log.name, size: 7, root: noise(7) });
const cosigned = (witness: SignerKey, of = text): string => cosignatureLine(of, witness, 1_700_000_000n);
const badly = (key: SignerKey): string =>
  key.type === ED25519 ? signatureLine(key, Buffer.alloc(64)) : cosigned(key, 'another text\n');

/** The log's checkpoint with further lines. */
const checkpoint = (...lines: readonly string[]): SignedCheckpoint =>
  parseCheckpoint(signNote(text, log) + lines.join(''));

const line = (name: (typeof names)[number], key = witnesses[name]) => `witness ${name} ${vkeyOf(key)}`;
const logLine = `log ${vkeyOf(log)}`;

const example = `${logLine}

${line('X1')}
${line('X2')}
${line('X3')}
group X-witnesses 2 X1 X2 X3

${line('Y1')}
${line('Y2')}
${line('Y3')}
group Y-witnesses any Y1 Y2 Y3

group X-and-Y all X-witnesses Y-witnesses
quorum X-and-Y
`;

/** All subsets of the six, and whether they are enough by the words of the specification's example. */
const subsets = Array.from({ length: 64 }, (_, bits) => names.filter((_name, at) => bits & (1 << at)));
const count = (names: readonly string[], first: string) =>
  names.filter((name) => name.startsWith(first)).length;

describe('C2SP tlog-policy: the example', () => {
  const policy = parsePolicy(example);

  test.each(subsets.map((subset) => [subset.join(' ') || 'nobody', subset] as const))(
    '%s',
    (_who, subset) => {
      const signed = checkpoint(...subset.map((name) => cosigned(witnesses[name])));
      const isEnough = count(subset, 'X') >= 2 && count(subset, 'Y') >= 1;
      expect(refusalOf(policy, signed)).toBe(
        isEnough ? undefined : 'the witnesses of X-and-Y have not signed it',
      );
    },
  );

  test('who is not known counts for nothing, and who signs twice for one', () => {
    const twice = cosigned(witnesses.X1) + cosignatureLine(text, witnesses.X1, 1_800_000_000n);
    const lines = twice + cosigned(stranger) + cosigned(witnesses.Y1);
    expect(refusalOf(policy, checkpoint(lines))).toMatch(/X-and-Y/);
    expect(refusalOf(policy, checkpoint(lines, cosigned(witnesses.X3)))).toBeUndefined();
  });

  test('a bad signature of a known witness refuses it, though enough others signed', () => {
    const enough = names.slice(1).map((name) => cosigned(witnesses[name]));
    expect(refusalOf(policy, checkpoint(...enough))).toBeUndefined();
    expect(refusalOf(policy, checkpoint(...enough, badly(witnesses.X1)))).toMatch(/witness.example\/X1/);
    expect(refusalOf(policy, checkpoint(...enough, badly(witnesses.Y3)))).toMatch(/witness.example\/Y3/);
    expect(refusalOf(policy, checkpoint(...enough, badly(stranger)))).toBeUndefined();
  });
});

describe('C2SP tlog-policy: logs', () => {
  const policy = parsePolicy(`log ${vkeyOf(log)} https://log.example/a\nlog ${vkeyOf(other)}\nquorum none\n`);

  test('any of those listed', () => {
    expect(refusalOf(policy, checkpoint())).toBeUndefined();
    const text = checkpointText({ origin: other.name, size: 7, root: noise(7) });
    expect(refusalOf(policy, parseCheckpoint(signNote(text, other)))).toBeUndefined();
    expect(refusalOf(policyOf(log), checkpoint())).toBeUndefined();
  });

  test('an origin that is not known', () => {
    expect(refusalOf(policyOf(other), checkpoint())).toBe('no key is known of the log log.example/a');
    expect(refusalOf(parsePolicy('quorum none'), checkpoint())).toMatch(/no key is known/);
  });

  test('the key of another log does not sign for this one', () => {
    const forged = parseCheckpoint(signNote(text, other));
    expect(refusalOf(policy, forged)).toBe('the log log.example/a has not signed it by a known key');
  });

  test('a key that is not known, of the same name', () => {
    const impostor = newSigner(log.name, ED25519);
    expect(refusalOf(policy, parseCheckpoint(signNote(text, impostor)))).toMatch(/has not signed it/);
  });

  test('a bad signature', () => {
    expect(refusalOf(policy, parseCheckpoint(`${text}\n${badly(log)}`))).toMatch(/not over this text/);
    expect(refusalOf(policy, checkpoint(badly(log)))).toMatch(/not over this text/);
    // Of a log that is known, though of another origin.
    expect(refusalOf(policy, checkpoint(badly(other)))).toMatch(/not over this text/);
  });

  test('of two keys of a log one is enough, but neither may be wrong', () => {
    const next = newSigner(log.name, ED25519);
    for (const keys of [
      [log, next],
      [next, log],
    ]) {
      const rotating = parsePolicy(`${keys.map((key) => `log ${vkeyOf(key)}\n`).join('')}quorum none`);
      expect(refusalOf(rotating, checkpoint())).toBeUndefined();
      expect(refusalOf(rotating, parseCheckpoint(signNote(text, next)))).toBeUndefined();
      expect(refusalOf(rotating, checkpoint(badly(next)))).toMatch(/not over this text/);
    }
  });

  test('a cosignature by the key of the log is none by the log', () => {
    const twin = { ...verifierKey(log.name, COSIGNATURE, log.publicKey), privateKey: log.privateKey };
    expect(refusalOf(policyOf(log), parseCheckpoint(`${text}\n${cosigned(twin)}`))).toMatch(/has not signed/);
  });
});

describe('C2SP tlog-policy: quorums', () => {
  const refusal = (rule: string, ...signed: readonly (typeof names)[number][]) =>
    refusalOf(
      parsePolicy([logLine, ...names.map((name) => line(name)), rule].join('\n')),
      checkpoint(...signed.map((name) => cosigned(witnesses[name]))),
    );

  test('none', () => {
    expect(refusal('quorum none')).toBeUndefined();
    expect(refusal('quorum none', 'X1')).toBeUndefined();
  });

  test('none, but who is known must not be wrong', () => {
    const policy = parsePolicy(`${logLine}\n${line('X1')}\nquorum none`);
    expect(refusalOf(policy, checkpoint(badly(witnesses.X1)))).toMatch(/witness.example\/X1/);
  });

  test('a single witness', () => {
    expect(refusal('quorum X2', 'X2')).toBeUndefined();
    expect(refusal('quorum X2', 'X1', 'X3')).toBe('the witnesses of X2 have not signed it');
  });

  test.each([
    ['any', 1],
    ['1', 1],
    ['2', 2],
    ['3', 3],
    ['all', 3],
  ])('%s of three', (threshold, least) => {
    const rule = `group G ${threshold} X1 X2 X3\nquorum G`;
    const signed = ['X3', 'X1', 'X2'] as const;
    for (let some = 0; some <= 3; some += 1)
      expect(refusal(rule, ...signed.slice(0, some)) === undefined).toBe(some >= least);
  });

  test('groups in groups in groups', () => {
    const rule = 'group A all X1 X2\ngroup B 1 A X3\ngroup C 2 B Y1 Y2\ngroup D any C\nquorum D';
    expect(refusal(rule, 'X1', 'X2', 'Y1')).toBeUndefined();
    expect(refusal(rule, 'X3', 'Y2')).toBeUndefined();
    expect(refusal(rule, 'Y1', 'Y2')).toBeUndefined();
    expect(refusal(rule, 'X1', 'Y1', 'Y3')).toMatch(/witnesses of D/);
    expect(refusal(rule, 'X1', 'X2', 'X3')).toMatch(/witnesses of D/);
  });

  test('what nests as deeply as lines go is judged', () => {
    const lines = Array.from(
      { length: 990 },
      (_, at) => `group g${at} any ${at === 0 ? 'X1' : `g${at - 1}`}`,
    );
    const policy = parsePolicy([logLine, line('X1'), ...lines, 'quorum g989'].join('\n'));
    expect(refusalOf(policy, checkpoint(cosigned(witnesses.X1)))).toBeUndefined();
    expect(refusalOf(policy, checkpoint())).toMatch(/g989/);
  });

  test('32 logs, 32 witnesses and 32 groups', () => {
    const many = Array.from({ length: 32 }, (_, at) => newSigner(`w${at}`, COSIGNATURE));
    const policy = parsePolicy(
      [
        ...Array.from({ length: 31 }, (_, at) => `log ${vkeyOf(newSigner(`l${at}`, ED25519))}`),
        logLine,
        ...many.map((key, at) => `witness w${at} ${vkeyOf(key)}`),
        ...many.map((_, at) => `group g${at} all w${at}`),
        `group G 20 ${many.map((_, at) => `g${at}`).join(' ')}`,
        'quorum G',
      ].join('\n'),
    );
    const lines = many.map((key) => cosigned(key));
    expect(refusalOf(policy, checkpoint(...lines))).toBeUndefined();
    expect(refusalOf(policy, checkpoint(...lines.slice(0, 20)))).toBeUndefined();
    expect(refusalOf(policy, checkpoint(...lines.slice(0, 19)))).toMatch(/witnesses of G/);
  });
});

describe('C2SP tlog-policy: its form', () => {
  test('spaces, tabs, empty lines, comments, URLs, and no newline at the end', () => {
    const policy = parsePolicy(
      `# a comment\n\n \t \n\t${logLine.replace(' ', ' \t ')} https://a.example/ \n   # another\nwitness\tX1 \t${vkeyOf(witnesses.X1)}\thttps://w.example/ä\n#quorum none\ngroup Gröüp any X1\nquorum\tGröüp`,
    );
    expect(refusalOf(policy, checkpoint(cosigned(witnesses.X1)))).toBeUndefined();
    expect(refusalOf(policy, checkpoint())).toBe('the witnesses of Gröüp have not signed it');
  });

  test('names are octets: K is not the sign of Kelvin', () => {
    expect(() => parsePolicy(`${line('X1').replace('X1', 'K')}\nquorum \u212a`)).toThrow('line 2');
    const both = `${line('X1').replace('X1', 'K')}\n${line('X2').replace('X2', '\u212a')}\nquorum K`;
    expect(() => parsePolicy(both)).not.toThrow();
  });

  test('a log and a witness may have names of the prototype', () => {
    expect(() => parsePolicy('quorum __proto__')).toThrow('line 1');
    expect(() => parsePolicy('quorum constructor')).toThrow('line 1');
    expect(() => parsePolicy(`${line('X1').replace('X1', '__proto__')}\nquorum __proto__`)).not.toThrow();
  });

  const x1 = vkeyOf(witnesses.X1);
  const renamed = vkeyOf(verifierKey('another.name', COSIGNATURE, witnesses.X1.publicKey));
  const logRenamed = vkeyOf(verifierKey('another.name', ED25519, log.publicKey));

  test.each([
    ['no quorum', `${logLine}\n`, /no quorum line/],
    ['nothing', '', /no quorum line/],
    ['two quorums', 'quorum none\nquorum none', /^line 2: .*two quorum/],
    ['two different quorums', `${line('X1')}\nquorum X1\nquorum none`, /^line 3: /],
    ['a quorum of nobody', 'quorum', /^line 1: /],
    ['a quorum of two', `${line('X1')}\n${line('X2')}\nquorum X1 X2`, /^line 3: /],
    ['a quorum that is not known', 'quorum X1', /^line 1: .*X1/],
    ['a quorum that comes later', `quorum X1\n${line('X1')}`, /^line 1: .*X1/],
    ['another word', 'logs x\nquorum none', /^line 1: logs/],
    ['a word in capitals', 'Quorum none', /^line 1: Quorum/],
    ['a comment that is none', 'quorum none # it is', /^line 1: /],
    ['a log without a key', 'log\nquorum none', /^line 1: /],
    ['a log with more than a URL', `${logLine} a b\nquorum none`, /^line 1: a log is/],
    ['a log with a bad key', `${logLine}A\nquorum none`, /^line 1: /],
    ['a log with the key of a witness', `\nlog ${x1}\nquorum none`, /^line 2: the key of a log is of type 1/],
    ['a witness without a key', 'witness X1\nquorum none', /^line 1: /],
    ['a witness without a name', `witness ${x1}\nquorum none`, /^line 1: /],
    ['a witness with more than a URL', `${line('X1')} a b\nquorum none`, /^line 1: a witness is/],
    ['a witness with the key of a log', `witness X1 ${vkeyOf(log)}\nquorum none`, /^line 1: .*type 4/],
    ['a witness called none', `witness none ${x1}\nquorum none`, /^line 1: .*not none/],
    ['a log twice', `${logLine}\n${logLine}\nquorum none`, /^line 2: .*twice/],
    ['a log twice, by two names', `${logLine}\nlog ${logRenamed}\nquorum none`, /^line 2: .*twice/],
    ['a witness twice', `${line('X1')}\nwitness X9 ${x1}\nquorum none`, /^line 2: .*twice/],
    [
      'a witness twice, by two names',
      `${line('X1')}\nwitness X9 ${renamed}\nquorum none`,
      /^line 2: .*twice/,
    ],
    ['a name twice', `${line('X1')}\n${line('X1', stranger)}\nquorum none`, /^line 2: X1 stands twice/],
    ['a group named as a witness', `${line('X1')}\ngroup X1 any X1\nquorum none`, /^line 2: X1 stands twice/],
    ['a group called none', `${line('X1')}\ngroup none any X1\nquorum none`, /^line 2: .*not none/],
    ['a group of nobody', 'group G all\nquorum none', /^line 1: a group is/],
    ['a group of none', 'group G all none\nquorum none', /^line 1: .*none/],
    ['a group of itself', `group G all G\nquorum none`, /^line 1: .*G/],
    ['a group without a threshold', `${line('X1')}\ngroup G X1\nquorum none`, /^line 2: /],
    ['a group of what comes later', `group G all X1\n${line('X1')}\nquorum none`, /^line 1: .*X1/],
    ['a threshold of zero', `${line('X1')}\ngroup G 0 X1\nquorum none`, /^line 2: a group is/],
    ['a threshold above the members', `${line('X1')}\ngroup G 2 X1\nquorum none`, /^line 2: a group is/],
    ['a negative threshold', `${line('X1')}\ngroup G -1 X1\nquorum none`, /^line 2: a group is/],
    ['a threshold that is no decimal', `${line('X1')}\ngroup G 0x1 X1\nquorum none`, /^line 2: a group is/],
    ['a threshold in capitals', `${line('X1')}\ngroup G ALL X1\nquorum none`, /^line 2: a group is/],
    ['a member twice', `${line('X1')}\ngroup G 2 X1 X1\nquorum G`, /^line 2: .*X1/],
    ['a member of two groups', `${line('X1')}\ngroup G any X1\ngroup H any X1\nquorum none`, /^line 3: .*X1/],
    [
      'a group in two groups',
      `${line('X1')}\ngroup G any X1\ngroup H any G\ngroup I all G H\nquorum I`,
      /^line 4: .*G/,
    ],
    ['a carriage return', `${logLine}\r\nquorum none\r\n`, /^line 1: /],
    ['a carriage return in a comment', '# a\r\nquorum none', /^line 1: /],
    ['a form feed', 'quorum\fnone', /^line 1: /],
    ['a zero', 'quorum none\0', /^line 1: /],
    ['a delete', '# \x7f', /^line 1: /],
    [
      'what is no UTF-8, as two names might be one',
      `${line('X1').replace('X1', 'X\ufffd')}\nquorum X\ufffd`,
      /^line 1: /,
    ],
    ['more lines than anybody needs', `${'\n'.repeat(20_000)}quorum none`, /1000 lines/],
  ])('%s is refused', (_what, text, message) => {
    expect(() => parsePolicy(text)).toThrow(message);
  });

  test('a log and a witness may have the same key', () => {
    const twin = verifierKey(log.name, COSIGNATURE, log.publicKey);
    expect(() => parsePolicy(`${logLine}\nwitness W ${vkeyOf(twin)}\nquorum W`)).not.toThrow();
  });
});
