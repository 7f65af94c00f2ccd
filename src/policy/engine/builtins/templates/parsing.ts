import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import { functions } from './functions.ts';
import { type Kind, type Token, tokensOf } from './lexing.ts';
import { characterOf, numberOfLiteral, unquote } from './literals.ts';
import type { List, Node, Operand, Pipe, Templates } from './nodes.ts';

/** Expressions and blocks are read by recursion. */
const deepest = 250;

/** @throws BuiltinError for what is no template of Go's */
export function parseTemplates(source: string, context: BuiltinContext): Templates {
  const templates: Templates = new Map();
  new Parser(tokensOf(source, context), templates).main();
  return templates;
}

interface Scope {
  /** How many loops are around. */
  loops: number;
  readonly variables: string[];
}

type Closing = 'end' | 'else';

class Parser {
  readonly #tokens: readonly Token[];
  readonly #templates: Templates;
  #at = 0;
  #depth = 0;
  #scope: Scope = { loops: 0, variables: ['$'] };

  constructor(tokens: readonly Token[], templates: Templates) {
    this.#tokens = tokens;
    this.#templates = templates;
  }

  main(): void {
    const nodes: Node[] = [];
    while (this.#peek().kind !== 'end') {
      if (this.#isDefinition()) this.#definition();
      else {
        const node = this.#node();
        if (typeof node === 'string') throw unexpected(node);
        nodes.push(node);
      }
    }
    this.#add('template', nodes);
  }

  /** A template may be defined once, but for those of blanks alone. */
  #add(name: string, list: List): void {
    const known = this.#templates.get(name);
    if (known === undefined || isEmpty(known)) this.#templates.set(name, list);
    else if (!isEmpty(list)) throw new BuiltinError('multiple definition of template');
  }

  #peek(): Token {
    return this.#tokens[this.#at] ?? { kind: 'end', text: '' };
  }

  #next(): Token {
    const token = this.#peek();
    this.#at += 1;
    return token;
  }

  #skipSpace(): Token {
    if (this.#peek().kind === 'space') this.#at += 1;
    return this.#peek();
  }

  #takes(kind: Kind, text?: string): boolean {
    const token = this.#skipSpace();
    if (token.kind !== kind || (text !== undefined && token.text !== text)) return false;
    this.#at += 1;
    return true;
  }

  #expect(kind: Kind): Token {
    const token = this.#skipSpace();
    if (token.kind !== kind) throw unexpected(token.text);
    return this.#next();
  }

  #isDefinition(): boolean {
    if (this.#peek().kind !== 'left') return false;
    const start = this.#at;
    this.#at += 1;
    if (this.#takes('keyword', 'define')) return true;
    this.#at = start;
    return false;
  }

  #definition(): void {
    const name = this.#name();
    this.#expect('right');
    this.#add(name, this.#body());
  }

  /** A list of its own, without the variables around. */
  #body(): List {
    const outer = this.#scope;
    this.#scope = { loops: 0, variables: ['$'] };
    const { list, closing } = this.#list();
    if (closing !== 'end') throw unexpected(closing);
    this.#scope = outer;
    return list;
  }

  #name(): string {
    const token = this.#skipSpace();
    if (token.kind !== 'string' && token.kind !== 'raw') throw unexpected(token.text);
    return unquote(this.#next().text);
  }

  #list(): { list: List; closing: Closing } {
    this.#depth += 1;
    if (this.#depth > deepest) throw new BuiltinError('nested too deeply');
    const list: Node[] = [];
    while (this.#peek().kind !== 'end') {
      const node = this.#node();
      if (typeof node === 'string') {
        this.#depth -= 1;
        return { list, closing: node };
      }
      list.push(node);
    }
    throw new BuiltinError('unexpected EOF');
  }

  #node(): Node | Closing {
    const token = this.#next();
    if (token.kind === 'text') return { kind: 'text', text: token.text };
    const { kind, text } = this.#skipSpace();
    if (kind !== 'keyword') return { kind: 'action', pipe: this.#pipe('right') };
    this.#at += 1;
    switch (text) {
      case 'if':
      case 'with':
      case 'range':
        return this.#control(text);
      case 'block': {
        const name = this.#name();
        const pipe = this.#pipe('right');
        this.#add(name, this.#body());
        return { kind: 'template', name, pipe };
      }
      case 'template': {
        const name = this.#name();
        return { kind: 'template', name, pipe: this.#takes('right') ? undefined : this.#pipe('right') };
      }
      case 'break':
      case 'continue':
        this.#expect('right');
        if (this.#scope.loops === 0) throw new BuiltinError('outside range');
        return { kind: text };
      case 'end':
        this.#expect('right');
        return 'end';
      case 'else':
        // `else if` goes on as the action of its own that it stands for.
        if (!/^(?:if|with)$/.test(this.#skipSpace().text) || this.#peek().kind !== 'keyword')
          this.#expect('right');
        return 'else';
      default:
        throw unexpected(text);
    }
  }

  #control(kind: 'if' | 'with' | 'range'): Node {
    const { variables } = this.#scope;
    const size = variables.length;
    const pipe = this.#pipe('right', kind === 'range');
    if (kind === 'range') this.#scope.loops += 1;
    const { list, closing } = this.#list();
    if (kind === 'range') this.#scope.loops -= 1;
    const otherwise = closing === 'else' ? this.#otherwise(kind) : undefined;
    variables.length = size;
    return { kind, pipe, list, otherwise };
  }

  #otherwise(kind: 'if' | 'with' | 'range'): List {
    const { kind: next, text } = this.#peek();
    if (next === 'keyword' && (text === 'if' || text === 'with')) {
      if (text !== kind) throw unexpected(text);
      this.#at += 1;
      return [this.#control(kind)];
    }
    const { list, closing } = this.#list();
    if (closing !== 'end') throw unexpected(closing);
    return list;
  }

  #pipe(end: 'right' | 'close', isRange = false): Pipe {
    this.#depth += 1;
    if (this.#depth > deepest) throw new BuiltinError('nested too deeply');
    const { declared, isAssignment } = this.#declarations(isRange);
    const commands: (readonly Operand[])[] = [];
    while (!this.#takes(end)) {
      if (this.#isOperand(this.#peek().kind)) commands.push(this.#command());
      else throw unexpected(this.#peek().text);
    }
    if (commands.length === 0) throw new BuiltinError('missing value');
    const isExecutable = ([first]: readonly Operand[]): boolean =>
      first !== undefined && first.kind !== 'constant' && first.kind !== 'dot' && first.kind !== 'nil';
    if (!commands.slice(1).every(isExecutable)) throw new BuiltinError('non executable command');
    this.#depth -= 1;
    return { declared, isAssignment, commands };
  }

  #isOperand(kind: Kind): boolean {
    return /^(?:bool|constant|dot|field|identifier|number|nil|raw|string|variable|open)$/.test(kind);
  }

  /** `$x :=`, `$x =`, and in a range `$i, $x :=` too. */
  #declarations(isRange: boolean): { declared: string[]; isAssignment: boolean } {
    const declared: string[] = [];
    for (;;) {
      const variable = this.#skipSpace();
      const start = this.#at;
      if (variable.kind !== 'variable') return { declared, isAssignment: false };
      this.#at += 1;
      const next = this.#skipSpace();
      const isComma = next.kind === 'char' && next.text === ',';
      if (next.kind !== 'assign' && next.kind !== 'declare' && !isComma) {
        this.#at = start;
        return { declared, isAssignment: false };
      }
      this.#at += 1;
      declared.push(variable.text);
      this.#scope.variables.push(variable.text);
      if (!isComma) return { declared, isAssignment: next.kind === 'assign' };
      if (!isRange || declared.length > 1) throw new BuiltinError('too many declarations');
      if (!/^(?:variable|right|close)$/.test(this.#skipSpace().kind))
        throw new BuiltinError('range can only initialize variables');
    }
  }

  #command(): readonly Operand[] {
    const operands: Operand[] = [];
    for (;;) {
      this.#skipSpace();
      const operand = this.#operand();
      if (operand) operands.push(operand);
      const { kind, text } = this.#peek();
      if (kind === 'space') continue;
      if (kind === 'pipe') {
        this.#at += 1;
        // Something must follow.
        if (!this.#isOperand(this.#skipSpace().kind)) throw unexpected(this.#peek().text);
      } else if (kind !== 'right' && kind !== 'close') throw unexpected(text);
      if (operands.length === 0) throw new BuiltinError('empty command');
      return operands;
    }
  }

  #operand(): Operand | undefined {
    const base = this.#term();
    if (!base) return undefined;
    const names: string[] = [];
    while (this.#peek().kind === 'field') names.push(this.#next().text.slice(1));
    if (names.length === 0) return base;
    if (base.kind === 'field') return { kind: 'field', names: [...base.names, ...names] };
    if (base.kind === 'variable') return { ...base, names: [...base.names, ...names] };
    if (base.kind === 'constant' || base.kind === 'nil' || base.kind === 'dot') throw unexpected('.');
    return { kind: 'chain', base, names };
  }

  #term(): Operand | undefined {
    const { kind, text } = this.#skipSpace();
    if (!this.#isOperand(kind)) return undefined;
    this.#at += 1;
    switch (kind) {
      case 'identifier':
        if (!Object.hasOwn(functions, text)) throw new BuiltinError('function not defined');
        return { kind: 'function', name: text };
      case 'nil':
      case 'dot':
        return { kind };
      case 'variable':
        if (!this.#scope.variables.includes(text)) throw new BuiltinError('undefined variable');
        return { kind: 'variable', name: text, names: [] };
      case 'field':
        return { kind: 'field', names: [text.slice(1)] };
      case 'bool':
        return { kind: 'constant', value: text === 'true' };
      case 'constant':
        return { kind: 'constant', value: characterOf(text) };
      case 'number':
        return { kind: 'constant', value: numberOfLiteral(text) };
      case 'open':
        return { kind: 'pipe', pipe: this.#pipe('close') };
      default:
        return { kind: 'constant', value: unquote(text) };
    }
  }
}

const unexpected = (text: string): BuiltinError => new BuiltinError(`unexpected ${text}`);

const isEmpty = (list: List): boolean =>
  list.every((node) => node.kind === 'text' && node.text.trim() === '');
