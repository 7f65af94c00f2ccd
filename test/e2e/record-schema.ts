import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { ServiceError } from '../../src/errors.ts';
import type { Mandate } from '../../src/main.ts';

/** What docs/record.schema.json says of records, by somebody else's validator. */

const file = path.join(import.meta.dirname, '../../docs/record.schema.json');
const validate = new Ajv2020({
  strict: true,
  strictRequired: false,
  strictTypes: false,
  allErrors: true,
}).compile(JSON.parse(readFileSync(file, 'utf8')) as object);

/** What is wrong with a record's text; undefined if nothing. */
export function faultOf(text: string): string | undefined {
  if (validate(JSON.parse(text))) return undefined;
  const faults = (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);
  return `${faults.join('; ')}: ${text.slice(0, 2_000)}`;
}

/** How many of each log are looked at. */
const MOST = 500;

/** What is wrong with the records that a server has written. One whose log is damaged, or that is gone, has none to show. */
export function faultsIn({ services, tenants }: Mandate): string[] {
  const texts = [...tenants].flatMap(({ no }) => {
    try {
      return services.records.range(no, 0, MOST).map(({ body }) => Buffer.from(body).toString('utf8'));
    } catch (error) {
      if (error instanceof ServiceError) return [];
      throw error;
    }
  });
  return texts.flatMap((text) => faultOf(text) ?? []);
}
