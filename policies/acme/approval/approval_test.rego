package approval_test

import data.approval
import data.authz

asked(action, groups) := {
	"approver": {"class": "user", "id": "carol", "status": "active", "groups": groups, "roles": [], "properties": {}},
	"request": {"action": {"name": action, "properties": {}}, "subject": {"class": "user", "id": "alice"}, "actors": []},
}

publishing := {
	"subject": {"class": "user", "type": "user", "id": "alice", "status": "active", "groups": [], "roles": [], "properties": {}},
	"actors": [], "action": {"name": "document.publish", "properties": {}},
	"resource": {"type": "document", "id": "plan", "properties": {"owner": "alice"}},
	"context": {}, "grant": null,
}

test_compliance_approves_what_is_published if {
	approval.allow with input as asked("document.publish", ["compliance"])
	not approval.allow with input as asked("document.publish", ["engineering"])
	not approval.allow with input as asked("document.delete", ["compliance"])
}

test_publishing_takes_an_approval if {
	authz.challenge.type == "approval" with input as publishing
	not authz.allow with input as publishing
	authz.allow with input as object.union(publishing, {"approval": {"id": "a"}})
}

test_publishing_is_the_owners if {
	other := object.union(publishing, {"subject": {"id": "bob"}, "approval": {"id": "a"}})
	not authz.allow with input as other
}
