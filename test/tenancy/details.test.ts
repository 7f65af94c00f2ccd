import { describe, expect, test } from 'vitest';
import { readManifest } from '../../src/tenancy/manifest.ts';

/** Types of authorization details (RFC 9396), and ceilings of them, as tenant.yaml declares them. */

const document = (types: string, ceiling = ''): string => `id: acme
authorization_details:
  ${types}
principals:
  - class: agent
    id: a
    ceiling:
      authorization_details:
        - { type: tool_call }
        ${ceiling}
`;

const TYPES =
  'tool_call: { members: { server: same, tools: subset, max_calls: at_most }, required: [tools] }';

const reading = (types: string, ceiling?: string) => () =>
  readManifest(document(types, ceiling), 'tenant.yaml');

describe('types of authorization details', () => {
  test('are taken as they are declared; a ceiling may leave out what is required', () => {
    const manifest = reading(TYPES, '- { type: tool_call, server: x, max_calls: 3 }')();
    expect(manifest.authorization_details).toMatchObject({
      tool_call: { members: { tools: 'subset' }, required: ['tools'] },
    });
    expect(manifest.principals[0]?.ceiling?.authorization_details).toHaveLength(2);
  });

  test.each<[string, string, string]>([
    ['a comparison that is none', 'tool_call: { members: { tools: fewer } }', 'tool_call.members.tools'],
    ['a member called type', 'tool_call: { members: { type: same } }', 'and not type'],
    ['a name that is none', 'tool_call: { members: { "a b": same } }', 'a name such as max_calls'],
    ['what is required and not a member', 'tool_call: { members: {}, required: [x] }', 'one of the members'],
    ['a type with an unknown member', 'tool_call: { members: {}, optional: [] }', 'optional'],
    ['a type whose name is none', '"a b": { members: {} }', 'a type is a name such as tool_call'],
  ])('refuses %s, with its line', (_what, types, message) => {
    expect(reading(types)).toThrow(/^tenant\.yaml:3: /);
    expect(reading(types)).toThrow(message);
  });

  test.each<[string, string, string]>([
    ['of an unknown type', '- { type: other }', 'does not declare: other'],
    ['with an unknown member', '- { type: tool_call, tool: x }', 'tool_call does not declare: tool'],
    ['with a value of another form', '- { type: tool_call, max_calls: many }', 'max_calls is no number'],
  ])('refuses a ceiling %s, with its place', (_what, ceiling, message) => {
    expect(reading(TYPES, ceiling)).toThrow(
      /^tenant\.yaml:10: principals\.0\.ceiling\.authorization_details\.1 /,
    );
    expect(reading(TYPES, ceiling)).toThrow(message);
  });
});
