import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import { Lexer, type Token, type TokenKind } from './lexing.ts';
import { make, type Node } from './nodes.ts';

/** gqlparser allows a thousand; each is a few calls within calls. */
const deepest = 300;

/** The numbers of gqlparser's kinds of values. */
export const valueKind = {
  variable: 0,
  int: 1,
  float: 2,
  string: 3,
  block: 4,
  boolean: 5,
  null: 6,
  enum: 7,
  list: 8,
  object: 9,
} as const;

type Comments = Node<'CommentGroup'> | undefined;

export interface Described {
  readonly text: string;
  readonly comment: Comments;
  readonly isPresent: boolean;
}

/** What queries and schemas have in common. Comments belong to the token that follows them. */
export class Parser {
  readonly #lexer: Lexer;
  #peeked: Token | undefined;
  #comment: Comments;
  #depth = 0;

  constructor(source: string, context: BuiltinContext) {
    this.#lexer = new Lexer(source, context);
  }

  get comment(): Comments {
    return this.#comment;
  }

  peek(): Token {
    if (this.#peeked) return this.#peeked;
    let token = this.#lexer.next();
    if (token.kind === 'comment') {
      const list: Node<'Comment'>[] = [];
      for (; token.kind === 'comment'; token = this.#lexer.next())
        list.push(make('Comment', { Value: token.value }));
      this.#comment = make('CommentGroup', { List: list });
    }
    this.#peeked = token;
    return token;
  }

  next(): Token {
    const token = this.peek();
    this.#peeked = undefined;
    this.#comment = undefined;
    return token;
  }

  expect(kind: TokenKind, value?: string): { token: Token; comment: Comments } {
    const token = this.peek();
    const comment = this.#comment;
    if (token.kind !== kind || (value !== undefined && token.value !== value)) throw this.unexpected();
    return { token: this.next(), comment };
  }

  skip(kind: TokenKind): boolean {
    if (this.peek().kind !== kind) return false;
    this.next();
    return true;
  }

  name(): string {
    return this.expect('name').token.value;
  }

  /** A word, whatever kind of token it is the value of. */
  says(word: string): boolean {
    return this.peek().value === word;
  }

  unexpected(): BuiltinError {
    return new BuiltinError(`unexpected ${this.peek().kind}`);
  }

  nested<T>(read: () => T): T {
    this.#depth += 1;
    if (this.#depth > deepest) throw new BuiltinError('exceeded maximum nesting depth');
    const result = read();
    this.#depth -= 1;
    return result;
  }

  /** Nothing without the opening mark, and at least one with it. @returns the comments before the closing one */
  some(open: TokenKind, close: TokenKind, read: () => void): Comments {
    if (!this.skip(open)) return undefined;
    if (this.peek().kind === close) throw this.unexpected();
    while (this.peek().kind !== close) read();
    const comment = this.#comment;
    this.next();
    return comment;
  }

  description(): Described {
    const token = this.peek();
    if (token.kind !== 'block' && token.kind !== 'string')
      return { text: '', comment: undefined, isPresent: false };
    const comment = this.#comment;
    return { text: this.next().value, comment, isPresent: true };
  }

  operationType(): string {
    const { value } = this.next();
    if (!/^(?:query|mutation|subscription)$/.test(value)) throw new BuiltinError(`unexpected ${value}`);
    return value;
  }

  directives(isConstant: boolean): Node<'Directive'>[] {
    const directives: Node<'Directive'>[] = [];
    while (this.skip('@')) {
      const name = this.name();
      directives.push(make('Directive', { Name: name, Arguments: this.arguments(isConstant) }));
    }
    return directives;
  }

  arguments(isConstant: boolean): Node<'Argument'>[] {
    const args: Node<'Argument'>[] = [];
    this.some('(', ')', () => {
      this.peek();
      const comment = this.#comment;
      const name = this.name();
      this.expect(':');
      args.push(make('Argument', { Comment: comment, Name: name, Value: this.value(isConstant) }));
    });
    return args;
  }

  type(): Node<'Type'> {
    const type = this.skip('[')
      ? this.nested(() => {
          const inner = this.type();
          this.expect(']');
          return make('Type', { Elem: inner });
        })
      : make('Type', { NamedType: this.name() });
    type.NonNull = this.skip('!');
    return type;
  }

  value(isConstant: boolean): Node<'Value'> {
    const token = this.peek();
    const comment = this.#comment;
    switch (token.kind) {
      case '[':
        return this.nested(() => this.#list(isConstant, comment));
      case '{':
        return this.nested(() => this.#object(isConstant, comment));
      case '$': {
        if (isConstant) throw this.unexpected();
        this.next();
        return make('Value', { Raw: this.name(), Kind: valueKind.variable });
      }
      case 'int':
      case 'float':
      case 'string':
      case 'block':
        this.next();
        return make('Value', { Raw: token.value, Kind: valueKind[token.kind] });
      case 'name':
        this.next();
        return make('Value', { Raw: token.value, Kind: kindOfWord(token.value) });
      default:
        throw this.unexpected();
    }
  }

  #list(isConstant: boolean, comment: Comments): Node<'Value'> {
    const children: Node<'ChildValue'>[] = [];
    this.next();
    while (this.peek().kind !== ']') children.push(make('ChildValue', { Value: this.value(isConstant) }));
    this.next();
    return make('Value', { Children: children, Kind: valueKind.list, Comment: comment });
  }

  #object(isConstant: boolean, comment: Comments): Node<'Value'> {
    const children: Node<'ChildValue'>[] = [];
    this.next();
    while (this.peek().kind !== '}') {
      const own = this.#comment;
      const name = this.name();
      this.expect(':');
      children.push(make('ChildValue', { Comment: own, Name: name, Value: this.value(isConstant) }));
    }
    this.next();
    return make('Value', { Children: children, Kind: valueKind.object, Comment: comment });
  }
}

function kindOfWord(word: string): number {
  if (word === 'true' || word === 'false') return valueKind.boolean;
  return word === 'null' ? valueKind.null : valueKind.enum;
}

/** The comments before a description, and those between it and what it describes. */
export function joinComments(before: Comments, after: Comments): Comments {
  if (!before || !after) return before ?? after;
  return make('CommentGroup', { List: [...before.List, ...after.List] });
}
