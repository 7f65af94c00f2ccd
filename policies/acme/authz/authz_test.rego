package authz_test

import data.authz

user(id, groups, roles, properties) := {
	"class": "user", "type": "user", "id": id, "status": "active",
	"groups": groups, "roles": roles, "properties": properties,
}

alice := user("alice", ["engineering"], ["editor"], {"projects": ["apollo"], "clearance": 2})

bob := user("bob", ["sales"], ["reader"], {"projects": ["hermes"], "clearance": 1})

carol := user("carol", ["compliance"], ["auditor"], {"projects": [], "clearance": 3})

agent := {
	"class": "agent", "type": "agent", "id": "research-agent", "status": "active",
	"groups": [], "roles": [], "properties": {},
}

document(sensitivity, project, owner) := {
	"type": "document", "id": "d1",
	"properties": {"sensitivity": sensitivity, "project": project, "owner": owner},
}

ask(subject, actors, action, resource) := {
	"subject": subject, "actors": actors, "action": {"name": action, "properties": {}},
	"resource": resource, "context": {}, "grant": null,
}

test_role_reads_internal if {
	authz.allow with input as ask(bob, [], "document.read", document("internal", "apollo", "alice"))
}

test_reader_does_not_edit if {
	not authz.allow with input as ask(bob, [], "document.edit", document("internal", "hermes", "alice"))
}

test_project_and_clearance_open_confidential if {
	authz.allow with input as ask(alice, [], "document.read", document("confidential", "apollo", "dave"))
}

test_project_without_clearance_does_not if {
	not authz.allow with input as ask(bob, [], "document.read", document("confidential", "hermes", "dave"))
}

test_owner_edits_restricted if {
	authz.allow with input as ask(alice, [], "document.edit", document("restricted", "apollo", "alice"))
}

test_compliance_group_reads_everything if {
	authz.allow with input as ask(carol, [], "document.read", document("restricted", "apollo", "alice"))
}

test_agent_suggests if {
	request := ask(alice, [agent], "document.suggest", document("internal", "apollo", "dave"))
	authz.allow with input as request
	count(authz.deny) == 0 with input as request
}

test_agent_does_not_edit if {
	some reason in authz.deny with input as ask(alice, [agent], "document.edit", document("internal", "apollo", "alice"))
	reason.code == "agent_may_only_suggest"
}

test_delete_is_challenged_without_mfa if {
	authz.challenge.type == "step_up" with input as ask(alice, [], "document.delete", document("internal", "apollo", "alice"))
}

signed_in(ago) := {"context": {"authentication": {
	"acr": "urn:acme:mfa",
	"auth_time": (time.now_ns() / 1000000000) - ago,
}}}

test_delete_is_allowed_soon_after_a_second_factor if {
	request := ask(alice, [], "document.delete", document("internal", "apollo", "alice"))
	authz.allow with input as object.union(request, signed_in(60))
	not authz.allow with input as object.union(request, signed_in(3600))
}

test_job_indexes_all_but_restricted if {
	job := object.union(alice, {"class": "job", "id": "nightly-index", "roles": []})
	authz.allow with input as ask(job, [], "document.index", document("confidential", "apollo", "alice"))
	not authz.allow with input as ask(job, [], "document.index", document("restricted", "apollo", "alice"))
}

test_confidential_owes_a_watermark if {
	some obligation in authz.obligations with input as ask(alice, [], "document.read", document("confidential", "apollo", "dave"))
	obligation.type == "watermark"
}

page(path) := {"type": "http", "id": path, "properties": {"host": "docs.acme.example", "method": "GET", "path": path}}

test_role_reads_the_handbook_as_pages if {
	authz.allow with input as ask(bob, [], "document.read", page("/handbook/holidays"))
}

test_agent_reads_the_handbook_as_pages if {
	request := ask(bob, [agent], "document.read", page("/handbook/holidays"))
	authz.allow with input as request
	count(authz.deny) == 0 with input as request
}

test_other_pages_are_closed if {
	not authz.allow with input as ask(bob, [], "document.read", page("/salaries"))
	not authz.allow with input as ask(bob, [], "document.read", page("/handbook"))
	not authz.allow with input as ask(bob, [], "http.get", page("/handbook/holidays"))
}
