import {
  arrayOf,
  either,
  type Generator,
  integer,
  number,
  objectOf,
  of,
  ofList,
  scalar,
  setOf,
  text,
  value,
} from './draw.ts';

export const any: Generator = (draw) => value(draw);
export const texts = either(arrayOf(text), setOf(text));
export const numbers = either(arrayOf(number), setOf(number), arrayOf(integer, 8));
export const collection = either(arrayOf(any), setOf(any), arrayOf(scalar, 8));
export const set = either(setOf(any), setOf(scalar, 6));
export const sets = setOf(setOf(scalar));
export const simpleKey = of('a', 'b', 'c', '', '0', '1', 1, null, 'a/b', '~');
export const tree: Generator = (draw) =>
  draw.chance(3)
    ? scalar(draw)
    : draw.one([
        objectOf(simpleKey, tree, 3),
        objectOf(simpleKey, tree, 3),
        arrayOf(tree, 3),
        setOf(tree, 2),
      ])(draw);
export const object = either(objectOf(simpleKey, tree), objectOf(text, any), objectOf(any, any));
export const document = objectOf(simpleKey, tree);
export const path = either(ofList('¦/¦a¦a/b¦/a/b/c¦a/0¦0¦1/a¦//a¦a~1b¦~0¦b/1'), arrayOf(simpleKey, 3));
export const paths = either(arrayOf(path), setOf(path));
export const keys = either(arrayOf(simpleKey), setOf(simpleKey), objectOf(simpleKey, scalar), arrayOf(any));
const node = of('a', 'b', 'c', 'd', 1, null);
export const graph = objectOf(node, either(arrayOf(node), setOf(node), scalar), 6);
export const nodes = either(arrayOf(node), setOf(node));
export const small: Generator = (draw) => draw.below(60) - 10;
export const base = of(2, 8, 10, 16, 10, 16, 3, 0);
