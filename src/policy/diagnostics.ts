import { ServiceError } from '../errors.ts';
import { MANIFEST } from '../tenancy/manifest-invalid.ts';
import { refusalOf } from './engine/capabilities.ts';
import { type TypeDetails, typeLines } from './opa/types.ts';

/** One mistake, where it is: `file` is relative to the tenant's folder, `line` counts from 1, 0 where unknown. */
export interface Diagnostic {
  readonly file: string;
  readonly line: number;
  readonly message: string;
  /** In characters from 1, where it is known. */
  readonly column?: number;
  /** Where the file was pulled from, if it is not of the tenant's folder. */
  readonly from?: string;
  /** What the compiler prints below its message: the types that it has, and those that it wants. */
  readonly detail?: readonly string[];
}

/** `policy_invalid`, with its diagnostics at hand. */
export class PolicyInvalid extends ServiceError {
  readonly diagnostics: readonly Diagnostic[];

  constructor(diagnostics: readonly Diagnostic[]) {
    super('policy_invalid', diagnostics.map(formatDiagnostic).join('\n'));
    this.diagnostics = diagnostics;
  }
}

/** The place of what is wrong with a bundle as a whole. */
export const BUNDLE = 'bundle';

/** How many mistakes are told at once. */
export const MAX_DIAGNOSTICS = 20;

/** Of one: a name or a line may be as long as all of the Rego, and what is told is kept, recorded and sent. */
const MAX_MESSAGE_LENGTH = 1_000;

export const policyInvalid = (diagnostics: readonly Diagnostic[]): PolicyInvalid =>
  new PolicyInvalid(
    diagnostics
      .slice(0, MAX_DIAGNOSTICS)
      .map((each) => ({ ...each, message: each.message.slice(0, MAX_MESSAGE_LENGTH) })),
  );

export const formatDiagnostic = ({ file, line, message }: Diagnostic): string =>
  `${file}:${line === 0 ? '' : `${line}:`} ${message}`;

/** Reads what OPA says, as JSON (`opa check -f json`) or as lines (`opa build`). */
export function diagnosticsOf(output: string): Diagnostic[] {
  const structured = fromJson(output);
  if (structured) return structured;
  const lines: Diagnostic[] = [];
  for (const line of output.split('\n')) {
    const match = /^(?:.*?\s)?(\S+\.rego):(\d+): (.+)$/.exec(line);
    if (match)
      lines.push({
        file: fileName(match[1] ?? ''),
        line: Number(match[2]),
        message: explained(match[3] ?? ''),
      });
  }
  const entry = /entrypoint "([^"]+)" does not refer to a rule/.exec(output)?.[1];
  if (entry !== undefined)
    return [
      {
        file: 'policy',
        line: 0,
        message: `there is no rule ${entry}, which ${MANIFEST} names as an entry point`,
      },
    ];
  // The compiler's own fault: what follows is its stack.
  const panic = /^panic: (.+)/m.exec(output)?.[1];
  if (panic !== undefined)
    return [
      { file: 'policy', line: 0, message: `OPA's compiler fails on this by a fault of its own: ${panic}` },
    ];
  return lines.length > 0 ? lines : [{ file: 'policy', line: 0, message: output.trim().slice(0, 500) }];
}

interface OpaError {
  message: string;
  code?: string;
  location?: { file?: string; row?: number; col?: number };
  details?: TypeDetails & { oneOf?: unknown };
}

function fromJson(output: string): Diagnostic[] | undefined {
  try {
    const { errors } = JSON.parse(output) as { errors?: OpaError[] };
    return errors?.map(({ message, code, location, details }) => {
      const detail = details ? typeLines(details) : [];
      return {
        file: fileName(location?.file ?? 'policy'),
        line: location?.row ?? 0,
        message: `${code ? `${code}: ` : ''}${explained(message)}${hint(details?.oneOf)}`,
        ...(location?.col === undefined ? {} : { column: location.col }),
        ...(detail.length === 0 ? {} : { detail }),
      };
    });
  } catch {
    return undefined;
  }
}

/** The compiler knows of a built-in that was cut from it as little as of one that never was; the author wants to know why. */
const explained = (message: string): string =>
  message.replace(/undefined function ([\w.]+)$/, (all, name: string) => refusalOf(name) ?? all);

const hint = (oneOf: unknown): string =>
  Array.isArray(oneOf) && oneOf.length > 0 ? ` (one of ${oneOf.slice(0, 12).join(', ')})` : '';

/** The compiler sees the tenant's files in `tenant/`; the author knows them without it. */
const fileName = (file: string): string => file.replace(/^tenant\//, '');
