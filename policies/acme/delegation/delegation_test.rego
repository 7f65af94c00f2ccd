package delegation_test

import data.delegation

ask(groups, scopes) := {
	"subject": {"class": "user", "type": "user", "id": "u", "status": "active", "groups": groups, "roles": [], "properties": {}},
	"actors": [{"class": "agent", "type": "agent", "id": "research-agent", "status": "active", "groups": [], "roles": [], "properties": {}}],
	"action": {"name": "token.exchange", "properties": {}},
	"resource": {"type": "audience", "id": "docs-mcp", "properties": {}},
	"context": {}, "grant": {"id": "g", "scope": scopes, "audience": "docs-mcp", "authorization_details": [], "depth": 1, "expires_at": ""},
}

test_engineering_delegates if {
	delegation.allow with input as ask(["engineering"], ["docs.read", "docs.suggest"])
}

test_sales_delegates_reading_only if {
	count(delegation.deny) == 0 with input as ask(["sales"], ["docs.read"])
	count(delegation.deny) == 1 with input as ask(["sales"], ["docs.read", "docs.suggest"])
}

test_others_do_not_delegate if {
	not delegation.allow with input as ask(["compliance"], ["docs.read"])
}
