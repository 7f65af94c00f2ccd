import * as fc from 'fast-check';

/** A small grammar of policies over a resource with few attributes, so that what they compare meets what there is. */

export const texts = ['a', 'b', 'ab', 'ä%', ''];
const numbers = [0, 1, 2, -1, 1.5];
const scalars = [...texts, ...numbers, true, false, null] as const;
const quoted = (value: unknown): string => JSON.stringify(value);
const pick = <T>(values: readonly T[]) => fc.constantFrom(...values);

/** What each attribute is meant to be: in resources it may be something else. */
export const attributes = {
  owner: 'text',
  level: 'number',
  open: 'boolean',
  tags: 'json',
  shares: 'json',
} as const;

const plain = pick(['owner', 'level', 'open', 'tags']);
const ref = plain.map((name) => `input.resource.properties.${name}`);
const someScalar = pick(scalars).map(quoted);
const someText = pick(texts).map(quoted);
const operator = pick(['==', '!=', '<', '<=', '>', '>=']);
const list = fc.array(pick(scalars), { maxLength: 3 }).map((all) => `[${all.map(quoted).join(', ')}]`);

const comparison = fc.tuple(ref, operator, someScalar).map(([a, op, b]) => `${a} ${op} ${b}`);
const flipped = fc.tuple(someScalar, operator, ref).map(([a, op, b]) => `${a} ${op} ${b}`);
const membership = fc.tuple(ref, list).map(([a, all]) => `${a} in ${all}`);
const contains = fc
  .tuple(someScalar, pick(['tags', 'shares', 'owner']))
  .map(([a, name]) => `${a} in input.resource.properties.${name}`);
const text = fc
  .tuple(pick(['startswith', 'endswith', 'contains']), ref, someText)
  .map(([f, a, b]) => `${f}(${a}, ${b})`);
const known = pick([
  'input.subject.id == "a"',
  'input.subject.properties.level >= 2',
  '"g" in input.subject.groups',
  'input.resource.properties.owner == input.subject.id',
  'input.resource.properties.owner in input.subject.groups',
  'input.resource.id == "a"',
  'startswith(input.resource.id, "a")',
  'input.action.name == "read"',
]);
const defaulted = fc
  .tuple(pick(['owner', 'level', 'open']), someScalar, operator, someScalar)
  .map(
    ([name, otherwise, op, b]) => `object.get(input.resource.properties, "${name}", ${otherwise}) ${op} ${b}`,
  );
const called = fc.tuple(pick(['is_fine', 'is_low']), ref).map(([f, a]) => `${f}(${a})`);
const ruled = pick(['helper', 'kind == "x"', 'kind != "x"', 'flag', 'two == 1', 'risky']);
const truthy = ref;
const compared = fc
  .tuple(ref, someScalar, pick(['true', 'false']))
  .map(([a, b, is]) => `(${a} == ${b}) == ${is}`);

const atom = fc.oneof(
  comparison,
  flipped,
  membership,
  contains,
  text,
  known,
  defaulted,
  called,
  ruled,
  truthy,
  compared,
);
const negated = atom.map((each) => `not ${each}`);

/** Over elements: scalars of tags, or objects of shares. */
const some = fc.oneof(
  fc
    .tuple(operator, someScalar)
    .map(([op, b]) => `some t in input.resource.properties.tags;\n\tt ${op} ${b}`),
  fc
    .tuple(someScalar, operator, someScalar)
    .map(([a, op, b]) => `some s in input.resource.properties.shares;\n\ts.user == ${a}; s.n ${op} ${b}`),
  fc
    .tuple(someScalar, someScalar)
    .map(([a, b]) => `some s in input.resource.properties.shares;\n\ts.user == ${a}; not s.n == ${b}`),
  pick([
    'some g in input.subject.groups;\n\tg in input.resource.properties.tags',
    'some t in input.resource.properties.tags;\n\tt in input.subject.groups',
  ]),
);

const expression = fc.oneof({ weight: 4, arbitrary: atom }, { weight: 2, arbitrary: negated }, some);
/** `some` declares a name, so one of a body. */
const body = fc
  .tuple(
    fc.array(fc.oneof({ weight: 3, arbitrary: atom }, { weight: 2, arbitrary: negated }), { maxLength: 2 }),
    expression,
  )
  .map(([first, last]) => [...first, last].join(';\n\t'));

const ofRules = (head: string, most: number) =>
  fc.array(body, { maxLength: most }).map((bodies) => bodies.map((each) => `${head} if {\n\t${each}\n}\n`));

/** Without rules that rules of its own mention, so that nothing goes round. */
const lowBody = fc
  .array(fc.oneof(comparison, membership, contains, text, known, some), { minLength: 1, maxLength: 2 })
  .map(([first, second]) => (second && !second.includes('some ') ? `${second};\n\t${first}` : String(first)));
const low = (head: string) => lowBody.map((each) => `${head} if {\n\t${each}\n}\n`);

export const policies = fc
  .tuple(
    fc.boolean(),
    ofRules('allow', 3).filter((all) => all.length > 0),
    ofRules('deny contains "no"', 2),
    fc.option(body, { freq: 3 }),
    fc.array(low('helper'), { minLength: 1, maxLength: 2 }),
    fc.tuple(fc.boolean(), low('kind := "x"')),
    low('flag'),
    fc.tuple(low('two := 1'), fc.option(low('two := 2'), { freq: 2 })),
    fc.tuple(someScalar, operator, operator, someScalar),
    fc.array(low('risky'), { minLength: 1, maxLength: 2 }),
  )
  .map(
    ([
      isDefault,
      allows,
      denies,
      challenge,
      helpers,
      [isKind, kind],
      flag,
      [two, conflicting],
      [c, op, other, d],
      risky,
    ]) => ({
      /** Whether no rule may have two values: a plan leaves those resources out, and a decision only where it comes to that. */
      isCertain: conflicting === null,
      text: [
        'package authz\n',
        isDefault ? 'default allow := false\n' : '',
        ...allows,
        ...denies,
        challenge === null ? '' : `challenge := {"type": "step_up"} if {\n\t${challenge}\n}\n`,
        ...helpers,
        isKind ? 'default kind := "y"\n' : '',
        kind,
        flag,
        two,
        conflicting ?? '',
        `is_fine(x) if x ${op} ${c}\n`,
        `is_fine(x) if x ${other} ${d}\n`,
        `is_low(x) if {\n\tx < 2\n\tnot x == 0\n}\n`,
        ...risky,
      ].join('\n'),
    }),
  );

const share = fc.oneof(
  fc.record({ user: pick(scalars), n: pick(scalars) }, { requiredKeys: [] }),
  pick(scalars),
);
const odd = fc.oneof(
  pick(scalars),
  fc.constant([] as unknown[]),
  fc.array(fc.oneof(pick(scalars), share), { maxLength: 3 }),
  fc.record({ user: pick(scalars) }),
);
const mostly = (usual: fc.Arbitrary<unknown>) => fc.oneof({ weight: 3, arbitrary: usual }, odd);

export const resources = fc.record({
  id: pick(['a', 'b', 'ab']),
  properties: fc.record(
    {
      owner: mostly(pick(texts)),
      level: mostly(pick(numbers)),
      open: mostly(fc.boolean()),
      tags: mostly(fc.array(pick(scalars), { maxLength: 3 })),
      shares: mostly(fc.array(share, { maxLength: 3 })),
    },
    { requiredKeys: [] },
  ),
});
export type Resource = { readonly id: string; readonly properties: Readonly<Record<string, unknown>> };

export const subjects = fc.record({
  id: pick(['a', 'b']),
  groups: fc.array(pick(['g', 'a', 'b']), { maxLength: 2 }),
  level: pick([1, 2, 3]),
});
