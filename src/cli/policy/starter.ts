/** What a new tenant begins with: a manifest, a policy that denies all but one thing, and tests of both kinds, which pass. */
export const starterFiles = (id: string, digest: string): Readonly<Record<string, string>> => ({
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
  'authz/requests_test.yaml': `# Whole decisions, the platform's guardrails included: what is asked, and what is to come of it.
tests:
  - name: a reader reads
    subject: user:alice
    action: document.read
    resource: document:any
    expect: allow

  - name: whoever has no role does not
    subject: { class: user, id: bob }
    action: document.read
    resource: document:any
    expect: deny
    reasons: [not_allowed]

  - name: an agent takes a grant to read for her
    subject: user:alice
    actors: [{ class: agent, id: helper }]
    action: document.read
    resource: document:any
    expect: deny
    reasons: [grant_required]
`,
});
