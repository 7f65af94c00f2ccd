/** The scenario that every contender decides: who may do what with a company's documents. */

export interface Principal {
  readonly id: string;
  readonly role: (typeof roles)[number];
  readonly department: (typeof departments)[number];
  /** 0 to 3. */
  readonly clearance: number;
}

export interface Question {
  readonly principal: Principal;
  readonly action: (typeof actions)[number];
  readonly document: {
    readonly id: string;
    readonly owner: string;
    readonly department: string;
    readonly sensitivity: (typeof sensitivities)[number];
    readonly archived: boolean;
  };
}

const roles = ['viewer', 'editor', 'contractor'] as const;
const departments = ['engineering', 'sales', 'finance', 'legal', 'people'] as const;
const sensitivities = ['public', 'internal', 'confidential', 'restricted'] as const;
const actions = ['document.read', 'document.edit', 'document.share', 'document.delete'] as const;

/** Marsaglia's xorshift: the same questions in every run. Answers 0 to n - 1. */
export function dice(seed: number): (sides: number) => number {
  let state = seed >>> 0 || 1;
  return (sides) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % sides;
  };
}

/** The nth principal; any number of them. */
export function principal(n: number): Principal {
  const roll = dice(n * 2_654_435_761 + 1);
  roll(2);
  return {
    id: `user-${n}`,
    role: pick(roles, roll),
    department: pick(departments, roll),
    clearance: roll(4),
  };
}

/** Questions of `principals` people, about half of them allowed. */
export function questions(count: number, principals: number): Question[] {
  const roll = dice(20_260_101);
  return Array.from({ length: count }, (_, n) => {
    const who = principal(roll(principals));
    return {
      principal: who,
      action: pick(actions, roll),
      document: {
        id: `document-${n}`,
        owner: roll(4) === 0 ? who.id : principal(roll(principals)).id,
        department: roll(3) === 0 ? pick(departments, roll) : who.department,
        sensitivity: pick(sensitivities, roll),
        archived: roll(8) === 0,
      },
    };
  });
}

/** The one that load generators repeat: allowed by role, department and sensitivity, past both denies. */
export const typical: Question = {
  principal: { id: 'user-typical', role: 'editor', department: 'engineering', clearance: 2 },
  action: 'document.edit',
  document: {
    id: 'document-typical',
    owner: 'user-7',
    department: 'engineering',
    sensitivity: 'confidential',
    archived: false,
  },
};

const pick = <T>(from: readonly T[], roll: (sides: number) => number): T => from[roll(from.length)] as T;
