/**
 * The Huffman code of RFC 7541 Appendix B. It is canonical: the lengths of its 257 codes, in the order of the symbols,
 * are all there is to it. The last is EOS.
 */
const LENGTHS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28,
  28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7,
  8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19,
  13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13,
  28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21,
  22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23,
  22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25,
  25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
] as const;
const EOS = 256;

/** A step of the decoder: the node it leads to in the low byte, then the symbol that came out on the way, if `EMITS`. */
const EMITS = 1 << 16;
const FAILS = -1;
/** By node and half a byte: 16 KiB, and two look-ups for each byte. */
const steps = new Int32Array(256 * 16);
/** Where a string may end: after up to seven bits of ones, the beginning of EOS (RFC 7541 section 5.2). */
const isEnd = new Uint8Array(256);

{
  // The tree: node 0 is the root; a child is a node, or -1 - symbol.
  const children = [new Int32Array(256), new Int32Array(256)] as const;
  let nodes = 1;
  let code = 0;
  let length = 0;
  const inOrder = LENGTHS.map((bits, symbol) => ({ bits, symbol })).toSorted(
    (a, b) => a.bits - b.bits || a.symbol - b.symbol,
  );
  for (const { bits, symbol } of inOrder) {
    code <<= bits - length;
    length = bits;
    let node = 0;
    for (let bit = bits - 1; bit > 0; bit -= 1) {
      const side = children[((code >>> bit) & 1) as 0 | 1];
      if (side[node] === 0) side[node] = nodes++;
      node = side[node] as number;
    }
    children[(code & 1) as 0 | 1][node] = -1 - symbol;
    code += 1;
  }
  for (let node = 0; node < 256; node += 1)
    for (let half = 0; half < 16; half += 1) {
      let at = node;
      let step = 0;
      for (let bit = 3; bit >= 0 && step !== FAILS; bit -= 1) {
        const child = children[((half >>> bit) & 1) as 0 | 1][at] as number;
        if (child === -1 - EOS) step = FAILS;
        else if (child < 0) step = EMITS | ((-1 - child) << 8);
        at = child < 0 ? 0 : child;
      }
      steps[node * 16 + half] = step === FAILS ? FAILS : step | at;
    }
  for (let node = 0, ones = 0; ones < 8; ones += 1) {
    isEnd[node] = 1;
    node = children[1][node] as number;
  }
}

/**
 * Decodes `bytes[from, to)` into `into`, which has room for 8/5 as many. Answers with the number of bytes, or -1 for
 * what is no string: EOS in it, or padding that is not up to seven bits of ones.
 */
export function huffmanDecode(bytes: Uint8Array, from: number, to: number, into: Uint8Array): number {
  let node = 0;
  let length = 0;
  for (let at = from; at < to; at += 1) {
    const byte = bytes[at] as number;
    let step = steps[node * 16 + (byte >>> 4)] as number;
    if (step < 0) return -1;
    if (step & EMITS) into[length++] = step >>> 8;
    step = steps[(step & 0xff) * 16 + (byte & 15)] as number;
    if (step < 0) return -1;
    if (step & EMITS) into[length++] = step >>> 8;
    node = step & 0xff;
  }
  return isEnd[node] === 1 ? length : -1;
}
