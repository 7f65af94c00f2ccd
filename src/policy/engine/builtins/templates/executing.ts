import { compareText } from '../../values/values.ts';
import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import { functions, printed } from './functions.ts';
import type { List, Node, Operand, Pipe, Templates } from './nodes.ts';
import { type GoValue, isList, isMap, isTrue } from './values.ts';

/** Fuel units of a node, of an operand, and per character of what is written. */
const unitsPerNode = 600;
const unitsPerOperand = 400;
const unitsPerCharacter = 8;
/** Templates that call templates; Go allows a hundred thousand. */
const deepest = 200;
const unitsPerTemplate = 4_000;

type Leap = 'break' | 'continue' | undefined;

interface Variable {
  readonly name: string;
  value: GoValue;
}

/** What is behind the last bar: undefined where there is none. */
type Final = { readonly value: GoValue } | undefined;

/** @throws BuiltinError where Go's execution fails */
export function execute(templates: Templates, data: GoValue, context: BuiltinContext): string {
  const execution = new Execution(templates, context);
  execution.run('template', data);
  return execution.output.join('');
}

class Execution {
  readonly output: string[] = [];
  readonly #templates: Templates;
  readonly #context: BuiltinContext;
  #variables: Variable[] = [];
  #depth = 0;

  constructor(templates: Templates, context: BuiltinContext) {
    this.#templates = templates;
    this.#context = context;
  }

  run(name: string, dot: GoValue): void {
    const list = this.#templates.get(name);
    if (!list) throw new BuiltinError('template not defined');
    this.#context.spend(unitsPerTemplate);
    this.#depth += 1;
    if (this.#depth > deepest) throw new BuiltinError('exceeded maximum template depth');
    const outer = this.#variables;
    this.#variables = [{ name: '$', value: dot }];
    this.#walkList(list, dot);
    this.#variables = outer;
    this.#depth -= 1;
  }

  #write(text: string): void {
    this.#context.spend(text.length * unitsPerCharacter);
    this.output.push(text);
  }

  #walkList(list: List, dot: GoValue): Leap {
    for (const node of list) {
      const leap = this.#walk(node, dot);
      if (leap) return leap;
    }
    return undefined;
  }

  #walk(node: Node, dot: GoValue): Leap {
    this.#context.spend(unitsPerNode);
    switch (node.kind) {
      case 'text':
        this.#write(node.text);
        return undefined;
      case 'break':
      case 'continue':
        return node.kind;
      case 'action': {
        const value = this.#pipe(node.pipe, dot);
        if (node.pipe.declared.length === 0)
          this.#write(value === undefined ? '<no value>' : printed(value, this.#context));
        return undefined;
      }
      case 'template':
        this.run(node.name, node.pipe && this.#pipe(node.pipe, dot));
        return undefined;
      default:
        return this.#scoped(() => this.#control(node, dot));
    }
  }

  /** Variables that are declared within are gone behind. */
  #scoped(work: () => Leap): Leap {
    const size = this.#variables.length;
    const leap = work();
    this.#variables.length = size;
    return leap;
  }

  #control(node: Extract<Node, { readonly list: List }>, dot: GoValue): Leap {
    const value = this.#pipe(node.pipe, dot);
    if (node.kind === 'range') return this.#range(node, value, dot);
    if (isTrue(value)) return this.#walkList(node.list, node.kind === 'with' ? value : dot);
    return node.otherwise && this.#walkList(node.otherwise, dot);
  }

  #range(
    { pipe, list, otherwise }: Extract<Node, { readonly list: List }>,
    value: GoValue,
    dot: GoValue,
  ): Leap {
    let isEmpty = true;
    for (const [index, element] of this.#elements(value, pipe.declared.length)) {
      isEmpty = false;
      this.#context.spend(unitsPerNode);
      this.#assign(pipe, index, element);
      let leap: Leap;
      this.#scoped(() => {
        leap = this.#walkList(list, element);
        return undefined;
      });
      if (leap === 'break') break;
    }
    return isEmpty && otherwise ? this.#walkList(otherwise, dot) : undefined;
  }

  *#elements(value: GoValue, declared: number): Generator<readonly [GoValue, GoValue]> {
    if (typeof value === 'bigint') {
      if (declared > 1) throw new BuiltinError('more than one variable');
      for (let at = 0n; at < value; at += 1n) yield [undefined, at];
    } else if (isList(value)) for (const [at, element] of value.entries()) yield [BigInt(at), element];
    else if (isMap(value)) yield* [...value].sort(([a], [b]) => compareText(a, b));
    else if (value !== undefined && value !== null) throw new BuiltinError("range can't iterate over it");
  }

  /** Of one variable it is the element, of two the first is the index. */
  #assign({ declared, isAssignment }: Pipe, index: GoValue, element: GoValue): void {
    const values = declared.length > 1 ? [index, element] : [element];
    for (const [at, name] of declared.entries()) {
      if (isAssignment) this.#set(name, values[at]);
      else {
        const variable = this.#variables[this.#variables.length - declared.length + at];
        if (variable) variable.value = values[at];
      }
    }
  }

  #set(name: string, value: GoValue): void {
    const variable = this.#variables.findLast((each) => each.name === name);
    if (!variable) throw new BuiltinError('undefined variable');
    variable.value = value;
  }

  #pipe({ declared, isAssignment, commands }: Pipe, dot: GoValue): GoValue {
    let final: Final;
    for (const command of commands) {
      const value = this.#command(command, dot, final);
      final = { value: value === null ? undefined : value };
    }
    for (const name of declared) {
      if (isAssignment) this.#set(name, final?.value);
      else this.#variables.push({ name, value: final?.value });
    }
    return final?.value;
  }

  #command([first, ...args]: readonly Operand[], dot: GoValue, final: Final): GoValue {
    if (!first) return undefined;
    if (first.kind === 'function') return this.#call(first.name, args, dot, final);
    // Fields are no functions here: there are no methods.
    if (args.length > 0 || final) throw new BuiltinError("can't give argument to non-function");
    if (first.kind === 'nil') throw new BuiltinError('nil is not a command');
    return this.#operand(first, dot);
  }

  #operand(operand: Operand, dot: GoValue): GoValue {
    this.#context.spend(unitsPerOperand);
    switch (operand.kind) {
      case 'constant':
        return operand.value;
      case 'dot':
        return dot;
      case 'nil':
        return undefined;
      case 'field':
        return this.#fields(dot, operand.names);
      case 'variable': {
        const variable = this.#variables.findLast(({ name }) => name === operand.name);
        if (!variable) throw new BuiltinError('undefined variable');
        return this.#fields(variable.value, operand.names);
      }
      case 'function':
        return this.#call(operand.name, [], dot, undefined);
      case 'pipe':
        return this.#pipe(operand.pipe, dot);
      case 'chain':
        return this.#fields(this.#operand(operand.base, dot), operand.names);
    }
  }

  #fields(receiver: GoValue, names: readonly string[]): GoValue {
    return names.reduce((value, name) => {
      this.#context.spend(unitsPerOperand);
      if (value === undefined) return undefined;
      if (!isMap(value)) throw new BuiltinError(`can't evaluate field ${name}`);
      return value.get(name);
    }, receiver);
  }

  #call(name: string, operands: readonly Operand[], dot: GoValue, final: Final): GoValue {
    const callee = functions[name];
    if (!callee) throw new BuiltinError('not a defined function');
    this.#context.spend(unitsPerOperand);
    const count = operands.length + (final ? 1 : 0);
    if (count < callee.least || count > callee.most) throw new BuiltinError('wrong number of args');
    if (name === 'and' || name === 'or') return this.#shortCircuit(name === 'or', operands, dot, final);
    const args = operands.map((operand) => this.#operand(operand, dot));
    return callee.call(final ? [...args, final.value] : args, this.#context);
  }

  #shortCircuit(wanted: boolean, operands: readonly Operand[], dot: GoValue, final: Final): GoValue {
    let value: GoValue;
    for (const operand of operands) {
      value = this.#operand(operand, dot);
      if (isTrue(value) === wanted) return value;
    }
    return final ? final.value : value;
  }
}
