package authz

import data.mandate.lib

default allow := false

allow if {
	input.action.name in {"report.export", "invoice.pay", "invoice.approve"}
	lib.has_role("analyst")
}

deny contains {"code": "too_many_exports", "message": "five an hour"} if input.usage.exports >= 5

# Beyond a thousand euros in all somebody has to have approved today.
deny contains {"code": "approval_missing", "message": "an approval of today"} if {
	input.action.name == "invoice.pay"
	paid_by_agent + input.resource.properties.euros > 1000
	input.usage.approvals == 0
}

# Without an agent there is no grant to count for.
paid_by_agent := object.get(input.usage, "paid", 0)

# Nobody approves by an agent.
deny contains "not_by_an_agent" if {
	input.action.name == "invoice.approve"
	count(input.actors) > 0
}
