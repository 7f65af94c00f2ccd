package authz

exports(before) := {
	"subject": {"class": "user", "id": "ada", "roles": ["analyst"], "groups": [], "properties": {}, "status": "active"},
	"actors": [],
	"action": {"name": "report.export", "properties": {}},
	"resource": {"type": "report", "id": "q3", "properties": {}},
	"context": {},
	"grant": null,
	"usage": {"exports": before},
}

pays(euros, usage) := object.union(exports(0), {
	"action": {"name": "invoice.pay"},
	"resource": {"type": "invoice", "id": "7", "properties": {"euros": euros}},
	"usage": usage,
})

test_the_fifth_export_is_the_last if {
	allow with input as exports(4)
	count(deny) == 0 with input as exports(4)
	count(deny) == 1 with input as exports(5)
}

test_much_money_takes_an_approval if {
	count(deny) == 0 with input as pays(200, {"paid": 800, "approvals": 0})
	count(deny) == 1 with input as pays(201, {"paid": 800, "approvals": 0})
	count(deny) == 0 with input as pays(201, {"paid": 800, "approvals": 1})
}
