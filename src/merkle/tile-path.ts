import { TILE_WIDTH } from './tree.ts';

/** A tile of hashes, or a bundle of entries (C2SP tlog-tiles). */
export interface TileName {
  /** 0 to 63; `entries` for a bundle. */
  readonly level: number | 'entries';
  readonly at: number;
  /** How many hashes or entries: 1 to TILE_WIDTH, which is all. */
  readonly width: number;
}

/** Below the log's prefix, such as `tile/0/x001/234.p/17`. */
export function tilePath({ level, at, width }: TileName): string {
  const digits = String(at);
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, '0').match(/.{3}/g) ?? [];
  const place = groups.map((group, n) => (n < groups.length - 1 ? `x${group}` : group)).join('/');
  return `tile/${level}/${place}${width === TILE_WIDTH ? '' : `.p/${width}`}`;
}

const FORM =
  /^tile\/(?<level>entries|0|[1-9][0-9]?)\/(?<place>(?:x[0-9]{3}\/){0,4}[0-9]{3})(?:\.p\/(?<width>[1-9][0-9]{0,2}))?$/;

/** Undefined for what is no such path: each tile has one name. */
export function parseTilePath(path: string): TileName | undefined {
  const { level, place, width } = FORM.exec(path)?.groups ?? {};
  if (level === undefined || place === undefined) return undefined;
  const name: TileName = {
    level: level === 'entries' ? level : Number(level),
    at: Number(place.replaceAll(/[x/]/g, '')),
    width: width === undefined ? TILE_WIDTH : Number(width),
  };
  const isTile = name.width <= TILE_WIDTH && (name.level === 'entries' || name.level <= 63);
  return isTile && tilePath(name) === path ? name : undefined;
}
