import { numberOf } from '../../../src/policy/engine/values/numbers.ts';
import { RegoObject, RegoSet, type Value } from '../../../src/policy/engine/values/values.ts';

/** A call of a built-in whose work is not in proportion to the number of its arguments, and takes long for what it costs. */
export interface DirectAdversary {
  readonly builtin: string;
  readonly name: string;
  readonly args: readonly Value[];
  /** Fuel units that the call costs at least. */
  readonly units: number;
}

const range = <T>(length: number, make: (index: number) => T): T[] =>
  Array.from({ length }, (_, index) => make(index));
const numbers = range(20_000, (index) => index);
const texts = range(20_000, (index) => `s${index}`);
const digits = numberOf('7'.repeat(20_000));
const decimals = range(5_000, (index) => numberOf(`0.${index + 1}1`));
const letters = 'aé'.repeat(20_000);
const numberSet = new RegoSet(numbers);
const entries = new RegoObject(texts.map((text) => [text, 1] as const));
/** What makes a search look at all of the one for each character of the other. */
const haystack = 'a'.repeat(400_000);
const needle = `${'a'.repeat(50_000)}b${'a'.repeat(50_000)}`;
const nested = range(500, (index) => index).reduce<Value>((inner) => [inner], []);
const tree = new RegoObject(texts.slice(0, 3_000).map((text) => [text, new RegoObject([['a', 1]])] as const));

export const directAdversaries: readonly DirectAdversary[] = (
  [
    ['mul', 'long integers', [digits, digits], 7_000_000],
    ['div', 'a large power', [numberOf('1e30000'), 3], 7_000_000],
    ['plus', 'a small power', [numberOf('1e-30000'), 1], 7_000_000],
    ['product', 'numbers that grow', [range(5_000, (index) => index + 1_000_000_007)], 20_000_000],
    ['product', 'decimals', [decimals], 20_000_000],
    ['sum', 'decimals', [decimals], 20_000_000],
    ['bits.lsh', 'more than there is', [1, 1_000_000_000], 20_000_000],
    ['numbers.range', 'more than there is', [0, 1_000_000_000], 20_000_000],
    ['sort', 'texts', [texts], 20_000_000],
    [
      'sort',
      'texts that are long alike',
      [range(100, (index) => `${'a'.repeat(10_000)}${index}`)],
      20_000_000,
    ],
    ['max', 'texts', [texts], 5_000_000],
    ['any', 'numbers', [numbers], 1_000_000],
    ['and', 'sets', [numberSet, numberSet], 5_000_000],
    ['or', 'sets', [numberSet, numberSet], 10_000_000],
    ['set_diff', 'sets', [numberSet, numberSet], 5_000_000],
    ['union', 'sets', [new RegoSet([numberSet, new RegoSet(texts)])], 10_000_000],
    ['intersection', 'sets', [new RegoSet([numberSet, new RegoSet(texts)])], 5_000_000],
    ['array.concat', 'arrays', [numbers, numbers], 700_000],
    ['array.flatten', 'arrays', [range(100, () => numbers)], 20_000_000],
    ['array.reverse', 'an array', [numbers], 300_000],
    ['array.slice', 'an array', [numbers, 0, 20_000], 300_000],
    ['object.keys', 'an object', [entries], 9_000_000],
    ['object.remove', 'an object', [entries, texts], 15_000_000],
    ['object.filter', 'an object', [entries, texts], 15_000_000],
    ['object.union', 'objects', [tree, new RegoObject([['a', 1]])], 1_400_000],
    ['object.union_n', 'objects', [range(100, () => tree)], 20_000_000],
    ['object.get', 'a path', [entries, texts, 1], 9_000_000],
    ['internal.member_2', 'an array', [-1, numbers], 1_900_000],
    ['walk', 'what is deep', [range(100, () => nested)], 20_000_000],
    ['graph.reachable', 'a graph', [new RegoObject([['a', range(20_000, () => 'a')]]), ['a']], 19_000_000],
    ['json.filter', 'paths', [tree, texts.slice(0, 3_000).map((text) => `${text}/a`)], 5_000_000],
    ['json.remove', 'paths', [tree, texts.slice(0, 3_000).map((text) => `${text}/a`)], 5_000_000],
    ['json.marshal', 'an object', [entries], 3_900_000],
    ['json.unmarshal', 'an array', [JSON.stringify(texts)], 3_000_000],
    ['json.is_valid', 'an array', [JSON.stringify(texts)], 2_000_000],
    ['base64.decode', 'a text', ['YWFh'.repeat(10_000)], 300_000],
    ['concat', 'many texts', [letters, texts.slice(0, 500)], 19_000_000],
    ['split', 'characters', [letters, ''], 700_000],
    ['replace', 'each character', [letters, 'a', letters], 20_000_000],
    ['replace', 'the empty text', [letters, '', letters], 20_000_000],
    [
      'strings.replace_n',
      'many texts',
      [new RegoObject(range(200, (index) => [`${'a'.repeat(index)}b`, ''] as const)), 'a'.repeat(20_000)],
      20_000_000,
    ],
    ['indexof', 'a long text', [letters, 'b'], 700_000],
    ['contains', 'what repeats itself', [haystack, needle], 7_000_000],
    ['indexof', 'what repeats itself', [haystack, needle], 14_000_000],
    ['indexof_n', 'what repeats itself', [haystack, needle], 7_000_000],
    ['split', 'what repeats itself', [haystack, needle], 14_000_000],
    ['strings.split_n', 'what repeats itself', [haystack, needle, 1], 14_000_000],
    ['strings.count', 'what repeats itself', [haystack, needle], 7_000_000],
    ['replace', 'what repeats itself', [haystack, needle, ''], 7_000_000],
    ['trim', 'a long text', [letters, letters], 2_000_000],
    ['lower', 'a long text', [letters], 700_000],
    ['format_int', 'a long integer', [digits, 10], 1_000_000],
    ['to_number', 'a long text', ['7'.repeat(20_000)], 1_000_000],
    ['glob.match', 'many stars', [`${'*a'.repeat(500)}b`, null, 'a'.repeat(10_000)], 20_000_000],
    ['glob.match', 'many alternatives', [`{${'*a,'.repeat(500)}b}`, null, 'a'.repeat(10_000)], 20_000_000],
    ['regex.match', 'a long program', ['(a{1000})'.repeat(10), 'a'], 20_000_000],
    ['regex.is_valid', 'a long program', ['(a{1000})'.repeat(10)], 20_000_000],
    ['regex.find_all_string_submatch_n', 'many matches', ['(a)(é)', letters, -1], 20_000_000],
    ['net.cidr_contains', 'addresses', ['2001:db8::/32', '2001:db8::1'], 7_000],
    ['yaml.unmarshal', 'many keys', [texts.map((text) => `${text}: 1`).join('\n')], 20_000_000],
  ] as const
).map(([builtin, name, args, units]) => ({ builtin, name, args, units }));
