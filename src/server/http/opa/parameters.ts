import { ServiceError } from '../../../errors.ts';
import { type TraceLevel, traceLevels } from '../../../policy/query/tracing.ts';
import { parseJson } from '../json.ts';

/** What the address asks for beside the path. */
export interface Parameters {
  readonly pretty: boolean;
  readonly provenance: boolean;
  readonly metrics: boolean;
  readonly explain: TraceLevel | undefined;
  /** Of a GET; undefined where there is none. */
  readonly input: unknown;
  /** The query of a GET. */
  readonly q: string | undefined;
}

type Name = keyof Parameters | 'instrument' | 'strict-builtin-errors' | 'bundles' | 'plugins';

/**
 * Only those of `taken` are: any other is refused by its name, as nobody is to believe that it was heeded. Throws
 * `invalid_request`.
 */
export function readParameters(url: URL, taken: readonly Name[]): Parameters {
  checkUtf8(url.search);
  const { searchParams: all } = url;
  for (const name of all.keys())
    if (!(taken as readonly string[]).includes(name))
      throw new ServiceError(
        'invalid_request',
        `the parameter ${name.slice(0, 64)} is not answered here; ${taken.join(', ')} are`,
      );
  if (isAsked(all, 'strict-builtin-errors'))
    throw new ServiceError(
      'invalid_request',
      'strict-builtin-errors is not answered: a built-in that fails is undefined, as in every decision',
    );
  const input = all.get('input');
  const parameters = {
    pretty: isAsked(all, 'pretty'),
    provenance: isAsked(all, 'provenance'),
    metrics: isAsked(all, 'metrics') || isAsked(all, 'instrument'),
    explain: levelIn(all.get('explain')),
    input: input === null ? undefined : parseJson(Buffer.from(input)),
    q: all.get('q') ?? undefined,
  };
  if (parameters.explain !== undefined && parameters.pretty)
    throw new ServiceError('invalid_request', 'explain is answered as events: leave out pretty');
  return parameters;
}

/** As OPA reads them: a parameter without a value is a yes too. */
const isAsked = (all: URLSearchParams, name: string): boolean =>
  all.getAll(name).some((value) => value === '' || value.toLowerCase() === 'true');

function levelIn(said: string | null): TraceLevel | undefined {
  if (said === null || said === 'off') return undefined;
  const level = traceLevels.find((each) => each === said);
  if (level === undefined)
    throw new ServiceError('invalid_request', `explain is off, ${traceLevels.join(', ')}`);
  return level;
}

/** `URL` reads what is no UTF-8 as something that nobody wrote. */
function checkUtf8(query: string): void {
  try {
    decodeURIComponent(query);
  } catch (cause) {
    throw new ServiceError('invalid_request', 'the query is not UTF-8, percent-encoded', { cause });
  }
}
