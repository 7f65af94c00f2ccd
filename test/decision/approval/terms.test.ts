import { describe, expect, test } from 'vitest';
import { termsOf } from '../../../src/decision/approval/terms.ts';

describe('the terms of a challenge', () => {
  test('have defaults, and members of the policy beside them', () => {
    expect(termsOf({ type: 'approval', by: 'manager' })).toEqual({
      waitsMs: 3_600_000,
      validMs: 600_000,
      uses: 1,
      bound: [],
      template: '',
      display: undefined,
    });
  });

  test('are as they are said, names once and in order', () => {
    const display = { title: 'Ask' };
    const said = {
      expires_in: 259_200,
      valid_for: 86_400,
      uses: 1_000,
      context: ['b', 'a', 'b'],
      template: 't',
    };
    expect(termsOf({ type: 'approval', ...said, display })).toEqual({
      waitsMs: 259_200_000,
      validMs: 86_400_000,
      uses: 1_000,
      bound: ['a', 'b'],
      template: 't',
      display,
    });
  });

  test.each<[string, object]>([
    ['another type', { type: 'step_up' }],
    ['no type', { type: undefined }],
    ['no use', { uses: 0 }],
    ['part of a use', { uses: 1.5 }],
    ['more uses than may be', { uses: 1_001 }],
    ['a time that is longer than a day', { valid_for: 86_401 }],
    ['a time that is no number', { expires_in: '1h' }],
    ['a time that is longer than three days', { expires_in: 259_201 }],
    ['a time that is null', { valid_for: null }],
    ['a context that is no array', { context: 'ticket' }],
    ['a name that is none', { context: ['ticket', ''] }],
    ['more names than may be', { context: Array.from({ length: 33 }, (_, at) => `n${at}`) }],
    ['a template that is no text', { template: 7 }],
    ['a display that is no object', { display: ['x'] }],
  ])('with %s are none', (_what, said) => {
    expect(termsOf({ type: 'approval', ...said })).toBeUndefined();
  });
});
