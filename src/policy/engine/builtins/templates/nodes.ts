import type { GoValue } from './values.ts';

/** A template that is parsed. */
export type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'action'; readonly pipe: Pipe }
  | {
      readonly kind: 'if' | 'with' | 'range';
      readonly pipe: Pipe;
      readonly list: List;
      readonly otherwise: List | undefined;
    }
  | { readonly kind: 'template'; readonly name: string; readonly pipe: Pipe | undefined }
  | { readonly kind: 'break' | 'continue' };

export type List = readonly Node[];

export interface Pipe {
  /** Variables, each with its `$`. */
  readonly declared: readonly string[];
  readonly isAssignment: boolean;
  readonly commands: readonly (readonly Operand[])[];
}

export type Operand =
  | { readonly kind: 'constant'; readonly value: GoValue }
  | { readonly kind: 'nil' | 'dot' }
  | { readonly kind: 'field'; readonly names: readonly string[] }
  | { readonly kind: 'variable'; readonly name: string; readonly names: readonly string[] }
  | { readonly kind: 'function'; readonly name: string }
  | { readonly kind: 'pipe'; readonly pipe: Pipe }
  | { readonly kind: 'chain'; readonly base: Operand; readonly names: readonly string[] };

/** The main one is called `template`. */
export type Templates = Map<string, List>;
