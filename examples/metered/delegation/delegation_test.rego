package delegation

asked(euros, changes) := object.union(
	{
		"subject": {"class": "user", "id": "ada"},
		"actors": [{"class": "agent", "id": "ledger-agent"}],
		"action": {"name": "task.open"},
		"grant": {"scope": ["invoices.pay"], "authorization_details": [{"type": "payment", "most_euros": euros}]},
	},
	changes,
)

test_much_takes_an_approval if {
	allow with input as asked(500, {})
	not allow with input as asked(501, {})
	challenge.type == "approval" with input as asked(501, {})
	allow with input as asked(501, {"approval": {"id": "a"}})
	allow with input as asked(501, {"action": {"name": "task.renew"}})
}

test_nothing_is_paid_without_a_bound if {
	count(deny) == 0 with input as asked(500, {})
	count(deny) == 1 with input as asked(500, {"grant": {"authorization_details": []}})
}
