import { createHash, randomBytes } from 'node:crypto';
import { lstat, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Command } from 'commander';
import { systemRandom } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import { tenantId } from '../ids.ts';
import { newSecret } from '../tenancy/registry/changes.ts';
import { globalsOf, print, printFields, printJson } from './terminal/output.ts';

export function newTenant(): Command {
  return new Command('new')
    .description('make a folder for a tenant: its tenant.yaml, a policy that denies, and a test of it')
    .argument('<id>', '1 to 63 of a-z, 0-9 and -')
    .argument('[folder]', 'where to make it (default: a folder of that name, here)')
    .addHelpText(
      'after',
      '\nA server whose folder of tenants it is in serves it at once.\n\nExample:\n  $ mandate tenant new initech tenants/initech\n',
    )
    .action(async (id: string, folder: string | undefined, _options: unknown, command: Command) => {
      checkId(id);
      const place = folder ?? id;
      const secret = newSecret(systemRandom);
      await make(place, filesOf(id, createHash('sha256').update(secret).digest('hex')));
      if (globalsOf(command).json) return printJson({ id, folder: place, client_id: 'api', secret });
      printFields([
        ['tenant', id],
        ['folder', place],
        ['caller', 'service:api'],
        ['secret', `${secret}   (give it to the caller; it is not kept)`],
      ]);
      print(`\nNext: mandate policy test ${place}`);
    });
}

function checkId(id: string): void {
  try {
    tenantId(id);
  } catch (cause) {
    throw new ServiceError('invalid_request', 'a tenant is called by 1 to 63 of a-z, 0-9 and -', { cause });
  }
}

/** All of it or nothing: a server that looks into the folder beside it never sees one that is half made. */
async function make(folder: string, files: Readonly<Record<string, string>>): Promise<void> {
  if (await lstat(folder).catch(() => undefined))
    throw new ServiceError('invalid_request', `${folder} is there already`);
  // A name that servers leave alone.
  const made = path.join(path.dirname(folder), `..new-${randomBytes(6).toString('hex')}`);
  try {
    for (const [name, text] of Object.entries(files)) {
      await mkdir(path.dirname(path.join(made, name)), { recursive: true });
      await writeFile(path.join(made, name), text);
    }
    await rename(made, folder);
  } catch (error) {
    await rm(made, { recursive: true, force: true });
    throw error;
  }
}

const filesOf = (id: string, digest: string): Record<string, string> => ({
  'tenant.yaml': `id: ${id}

roles:
  reader: { scopes: [docs.read] }

# What a delegated token needs for an action: a scope, and a class of use (read, suggest; else act).
actions:
  document.read: { scope: docs.read, use: read }

principals:
  # The service that asks for decisions.
  - class: service
    id: api
    credentials: [{ secret_sha256: ${digest} }]
  - class: user
    id: alice
    roles: [reader]
`,
  'authz/authz.rego': `package authz

import data.mandate.lib

default allow := false

allow if {
	input.action.name == "document.read"
	lib.has_role("reader")
}
`,
  'authz/authz_test.rego': `package authz

asks(roles) := {
	"subject": {"class": "user", "id": "alice", "roles": roles, "groups": [], "properties": {}, "status": "active"},
	"actors": [],
	"action": {"name": "document.read", "properties": {}},
	"resource": {"type": "document", "id": "any", "properties": {}},
	"context": {},
	"grant": null,
}

test_readers_read if allow with input as asks(["reader"])

test_others_do_not if not allow with input as asks([])
`,
});
