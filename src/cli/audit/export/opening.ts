import { AuditService } from '../../../gen/mandate/v1/audit_pb.ts';
import { clientOf } from '../../client.ts';
import type { GlobalOptions } from '../../terminal/output.ts';
import type { Shown } from './table.ts';

/** Records as who may read them sees them: those of which something is sealed are asked for, each by its decision. */
export function opening(globals: GlobalOptions, tenant: string): Shown {
  const client = clientOf(AuditService, 'admin', globals);
  return async (stored) => {
    const { sealed, decision_id: decisionId } = JSON.parse(utf8.decode(stored)) as {
      sealed?: readonly string[];
      decision_id: string;
    };
    if (!sealed) return stored;
    let pageToken = '';
    do {
      const page = await client.query({ tenant, decisionId, pageSize: 1, pageToken });
      const [found] = page.records;
      if (found) return found.opened.length > 0 ? found.opened : stored;
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return stored;
  };
}

const utf8 = new TextDecoder();
